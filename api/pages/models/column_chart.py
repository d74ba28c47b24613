"""The history of one column: the size of its change, the change itself, and its faults, on one axis of time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from api.pages.models.course_chart import BASIS, BREAK, axis_of_time, moment_text, ms, short, status_marks, with_labels
from monitor.tables import Measurement

Vega = dict[str, Any]
_SERIES, _ALARM, _MUTED = "var(--chart-series)", "var(--chart-alarm)", "var(--chart-muted)"


def history_chart(effects: Sequence[Measurement], faults: Sequence[Measurement]) -> Vega:
    """Small multiples of at least one measurement."""
    every = [*effects, *faults]
    domain = [ms(min(m.from_ts for m in every)), ms(max(m.to_ts for m in every))]
    panels = []
    if effects:
        panels.append(_size(effects, domain))
    panels += [_change(effects, kind, domain) for kind in _units(effects)]
    panels += [_faults(faults, metric, domain) for metric in dict.fromkeys(m.metric for m in faults)]
    with_labels(panels[-1])
    return {"spacing": 14, "vconcat": panels}


def _units(effects: Sequence[Measurement]) -> list[str]:
    """The units in which a change was visible; a unit of fewer than a tenth of the windows has no panel of its own."""
    found = [m.unit for m in effects if m.details.get("visible_change") is not None]
    return [unit for unit in dict.fromkeys(found) if found.count(unit) * 10 >= len(found)]


def _with_gaps(rows: list[Vega]) -> list[Vega]:
    """The rows, with an empty one where half a window or more lies between two."""
    found = rows[:1]
    for before, row in pairwise(rows):
        if row["a"] - before["b"] > (before["b"] - before["a"]) / 2:
            found.append({"a": before["b"], "b": row["a"]})
        found.append(row)
    return found


def _place(m: Measurement) -> Vega:
    return {"a": ms(m.from_ts), "b": ms(m.to_ts), "t": moment_text(m.to_ts)}


def _panel(title: str, rows: list[Vega], layers: list[Vega], height: int = 90) -> Vega:
    return {
        "title": {"text": title, "limit": 320},
        "data": {"values": _with_gaps(rows)},
        "height": height,
        "layer": layers,
    }


def _y(field: str, **scale: Any) -> Vega:
    axis = {"title": None, "tickCount": 4, "domain": False, "ticks": False, "format": "~r", **BASIS}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": {"zero": True, **scale}}


def _points(domain: Sequence[int], field: str, title: str) -> list[Vega]:
    x = axis_of_time(domain)
    tooltip = [
        {"field": "t", "title": "window ends, UTC"}, {"field": field, "type": "quantitative", "title": title},
        {"field": "what", "title": "of"},
    ]  # fmt: skip
    return [
        {"mark": {"type": "line", "color": _SERIES, "strokeWidth": 1.2, "opacity": 0.6, "invalid": BREAK},
         "encoding": {"x": x, "y": _y(field)}},
        {"mark": {"type": "point", "filled": True, "opacity": 1},
         "transform": [{"filter": f"isValid(datum.{field})"}],
         "encoding": {"x": x, "y": _y(field), **status_marks("s", small=18), "tooltip": tooltip}},
    ]  # fmt: skip


def _size(effects: Sequence[Measurement], domain: Sequence[int]) -> Vega:
    rows = [
        {**_place(m), "size": short(float(m.details["times_floor"])), "s": "alarm" if m.details.get("named") else "ok",
         "what": str(m.details.get("effect", "")).replace("_", " ")}
        for m in effects if m.details.get("times_floor") is not None
    ]  # fmt: skip
    floor = {"mark": {"type": "rule", "color": _ALARM}, "encoding": {"y": {"datum": 1, "type": "quantitative"}}}
    title = "size, times its floor (line: the floor)"
    return _panel(title, rows, [*_points(domain, "size", "times the floor"), floor])


def _change(effects: Sequence[Measurement], unit: str, domain: Sequence[int]) -> Vega:
    """The change in its own unit, with what the window would have shown as a band around zero."""
    rows = []
    for m in effects:
        if m.unit == unit and m.value is not None:
            seen = m.details.get("visible_change")
            row = {**_place(m), "v": short(m.value), "s": "alarm" if m.details.get("named") else "ok",
                   "what": str(m.details.get("effect", "")).replace("_", " ")}  # fmt: skip
            rows.append(row if seen is None else {**row, "l": -short(float(seen)), "h": short(float(seen))})
    band = {
        "mark": {"type": "area", "color": _MUTED, "opacity": 0.15, "invalid": BREAK},
        "encoding": {"x": axis_of_time(domain), "y": _y("l"), "y2": {"field": "h"}},
    }
    return _panel(f"change, {unit} (band: not visible)", rows, [band, *_points(domain, "v", f"change, {unit}")])


def _faults(faults: Sequence[Measurement], metric: str, domain: Sequence[int]) -> Vega:
    rows = [
        {**_place(m), "f": short(100 * m.value), "s": "alarm" if m.alarm else "ok", "what": metric.replace("_", " ")}
        for m in faults if m.metric == metric and m.value is not None
    ]  # fmt: skip
    return _panel(f"{metric.replace('_', ' ')}, % of rows", rows, _points(domain, "f", "% of rows"), 60)

"""The charts of fairness: each disparity over the windows, and the rates of groups with their intervals."""

from collections.abc import Sequence
from typing import Any, Final

from api.pages.models.course_chart import (
    BASIS,
    BREAK,
    axis_of_time,
    moment_text,
    ms,
    short,
    status_marks,
    titled,
    with_labels,
)
from reports.charts.records import Panel, Timeline
from reports.fairness import CellLine

Vega = dict[str, Any]
MOST_GROUPS: Final = 20
MOST_RATES: Final = 3
_SERIES, _ALARM, _MUTED = "var(--chart-series)", "var(--chart-alarm)", "var(--chart-muted)"


def disparities_chart(found: Timeline) -> Vega:
    """A panel for each disparity, with its intervals and limits, on one axis of time."""
    domain = [ms(found.start), ms(found.end)]
    panels = [_panel(panel, domain) for panel in found.panels]
    with_labels(panels[-1])
    return {"spacing": 14, "vconcat": panels}


def _panel(panel: Panel, domain: Sequence[int]) -> Vega:
    rows: list[Vega] = []
    for p in panel.points:
        found = {"v": p.value, "l": p.low, "h": p.high, "limit": p.limit, "n": p.n}
        row: Vega = {"a": ms(p.start), "b": ms(p.at), "t": moment_text(p.at), "s": p.status}
        if rows and row["a"] - rows[-1]["b"] > (row["b"] - row["a"]) / 2:
            rows.append({"a": rows[-1]["b"], "b": row["a"], "gap": 1})
        rows.append(row | {name: short(value) for name, value in found.items() if value is not None})
    x = axis_of_time(domain)
    axis = {"title": None, "tickCount": 4, "domain": False, "ticks": False, "format": "~r", **BASIS}

    def y(field: str) -> Vega:
        return {"field": field, "type": "quantitative", "axis": axis, "scale": {"zero": True}}

    band = {"mark": {"type": "area", "color": _SERIES, "opacity": 0.16, "invalid": BREAK},
            "encoding": {"x": x, "y": y("l"), "y2": {"field": "h"}}}  # fmt: skip
    limit = {"mark": {"type": "rule", "color": _ALARM},
             "encoding": {"x": axis_of_time(domain, "a"), "x2": {"field": "b"}, "y": y("limit")}}  # fmt: skip
    line = {"mark": {"type": "line", "color": _SERIES, "strokeWidth": 1.5, "invalid": BREAK},
            "encoding": {"x": x, "y": y("v")}}  # fmt: skip
    tooltip = [{"field": "t", "title": "window ends, UTC"},
               {"field": "v", "type": "quantitative", "title": panel.title},
               {"field": "l", "type": "quantitative", "title": "interval from"},
               {"field": "h", "type": "quantitative", "title": "to"}, {"field": "n"}]  # fmt: skip
    points = {"mark": {"type": "point", "filled": True, "opacity": 1},
              "transform": [{"filter": "isValid(datum.v)"}],
              "encoding": {"x": x, "y": y("v"), **status_marks("s", small=18), "tooltip": tooltip}}  # fmt: skip
    last = next((p.limit for p in reversed(panel.points) if p.limit is not None), None)
    words = "" if last is None else f"({panel.limit_word} {last:.3g})"
    return {
        "title": titled(panel.title, words),
        "data": {"values": rows},
        "height": 90,
        "layer": [band, limit, line, points],
    }


def groups_chart(cells: Sequence[CellLine], rates: Sequence[str]) -> Vega | None:
    """The rates of the largest groups with their intervals, one panel a rate; None where no rate has a value."""
    largest = sorted(cells, key=lambda cell: -cell.n)[:MOST_GROUPS]
    panels: list[Vega] = []
    for rate in rates:
        rows = [
            {"group": cell.group[:40], "n": r.n, "v": short(r.value), "small": cell.small,
             **({"l": short(r.low), "h": short(r.high)} if r.low is not None and r.high is not None else {})}
            for cell in largest for r in cell.rates if r.rate == rate and r.value is not None
        ]  # fmt: skip
        if rows and len(panels) < MOST_RATES:
            panels.append(_rates(rate, rows))
    return {"spacing": 20, "vconcat": panels} if panels else None


def _rates(rate: str, rows: list[Vega]) -> Vega:
    words = rate.replace("_", " ")
    axis = {"title": None, "domain": False, "ticks": False, "grid": True, "labelLimit": 110}  # fmt: skip
    y = {
        "field": "group",
        "type": "nominal",
        "sort": [r["group"] for r in sorted(rows, key=lambda r: -r["v"])],
        "axis": axis,
    }
    scale = {"zero": False, "nice": True}
    tooltip = [{"field": "group"}, {"field": "v", "type": "quantitative", "title": words},
               {"field": "l", "type": "quantitative", "title": "interval from"},
               {"field": "h", "type": "quantitative", "title": "to"}, {"field": "n"}]  # fmt: skip

    def x(field: str) -> Vega:
        return {"field": field, "type": "quantitative", "scale": scale, "axis": {"title": None, "tickCount": 5}}

    colour = {"condition": {"test": "datum.small", "value": _MUTED}, "value": _SERIES}
    bar = {"mark": {"type": "rule", "strokeWidth": 2}, "transform": [{"filter": "isValid(datum.l)"}],
           "encoding": {"y": y, "x": x("l"), "x2": {"field": "h"}, "color": colour}}  # fmt: skip
    dot = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
           "encoding": {"y": y, "x": x("v"), "color": colour, "tooltip": tooltip}}  # fmt: skip
    return {"title": words, "data": {"values": rows}, "height": 24 * len(rows), "layer": [bar, dot]}


def height_of(panels: int, each: int) -> int:
    """One of the heights that a page reserves."""
    wanted = panels * each + 40
    return next((h for h in (160, 240, 320, 400, 480, 640) if h >= wanted), 800)

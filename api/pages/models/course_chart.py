"""The chart of a course: small multiples on one axis of time, as a Vega-Lite specification that the browser draws."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from api.pages.models.course import Course, Panel
from api.pages.models.store import CourseWindow, Value

Vega = dict[str, Any]
_EXTENT: Final = {"minExtent": 50, "maxExtent": 50}  # the same in all panels, so that times line up
_SERIES, _SECOND, _ALARM, _MUTED, _VERSION = (
    f"var(--chart-{name})" for name in ("series", "second", "alarm", "muted", "version")
)
_STATUS: Final = ["ok", "alarm", "unknown"]
ROWS: Final = ("versions", "specs", "deploys", "alerts", "retrains")
_SHAPES: Final = {
    "versions": ("square", _VERSION), "specs": ("diamond", _MUTED), "deploys": ("triangle-right", _VERSION),
    "alerts": ("triangle-up", _ALARM), "retrains": ("circle", _SERIES),
}  # fmt: skip


def happenings(course: Course) -> list[Vega]:
    """What happened, in order: when, of which kind, in which words."""
    found = [
        {"at": rule.at, "row": "deploys" if rule.label.endswith(" deployed") else "versions", "label": rule.label}
        for rule in course.rules
    ]
    kinds = {"alerts": "alerts", "retrain ": "retrains", "run ": "retrains"}
    for tick in course.ticks:
        row = next((r for prefix, r in kinds.items() if tick.kind.startswith(prefix.rstrip("s"))), "alerts")
        found.append({"at": tick.at, "row": row, "label": f"{tick.kind}: {tick.label.replace('_', ' ')}"})
    for revision, at, author in course.happened.specs if course.happened else ():
        found.append({"at": at, "row": "specs", "label": f"spec revision {revision} by {author}"})
    return sorted(found, key=lambda one: one["at"])


def course_chart(course: Course) -> Vega:
    """The chart of a course that has at least one window."""
    domain = [_ms(course.windows[0].from_ts), _ms(course.windows[-1].to_ts)]
    events = [{**one, "at": _ms(one["at"]), "t": _text(one["at"])} for one in happenings(course)]
    panels = [_panel(panel, domain, few=len(course.windows) <= 60) for panel in course.panels]
    panels += [_bars("rows", "rows per window", domain), _bars("labels", "rows with an outcome, share", domain, top=1)]
    panels[-1]["layer"][-1]["encoding"]["x"]["axis"] |= {"labels": True, "ticks": True, "domain": True}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "datasets": {"w": _rows(course), "e": events},
        "spacing": 14, "vconcat": [_lane(events, domain), *panels],
    }  # fmt: skip


def _rows(course: Course) -> list[Vega]:
    found = []
    for window in course.windows:
        row: Vega = {
            "a": _ms(window.from_ts), "b": _ms(window.to_ts), "t": _text(window.to_ts), "rows": window.rows,
            "labels": _short(window.labels / window.rows) if window.rows else None, "v": window.verdict,
        }  # fmt: skip
        for panel in course.panels:
            if (value := panel.values.get(window.id)) is not None:
                row |= _fields(panel, value)
        found.append(row)
    return _broken(found, course.windows)


def _fields(panel: Panel, v: Value) -> Vega:
    unjudged = v.value is None or v.judged is False
    status = "unknown" if unjudged else "alarm" if v.alarm else "ok"
    row = {
        "": v.value if panel.kind != "p" or v.value is None else max(v.value, 1e-9), "l": v.low, "h": v.high,
        "t": v.limit, "e": v.estimated, "f": v.estimated_low, "g": v.estimated_high,
    }  # fmt: skip
    found: Vega = {f"{panel.key}{end}": _short(x) for end, x in row.items() if x is not None}
    return found | {f"{panel.key}s": status, f"{panel.key}n": v.n}


def _broken(rows: list[Vega], windows: Sequence[CourseWindow]) -> list[Vega]:
    """The rows, with an empty one where half a window or more lies between two: no line crosses unmeasured time."""
    found = rows[:1]
    for (before, row), (one, other) in zip(pairwise(rows), pairwise(windows), strict=True):
        if (other.from_ts - one.to_ts) > (one.to_ts - one.from_ts) / 2:
            found.append({"a": before["b"], "b": row["a"], "gap": 1})
        found.append(row)
    return found


def _x(domain: Sequence[int], field: str = "b") -> Vega:
    axis = {"title": None, "labels": False, "ticks": False, "domain": False, "labelOverlap": True, "tickCount": 6}
    days = (domain[1] - domain[0]) / 86_400_000
    axis["format"] = "%-d %b %Y" if days > 300 else "%-d %b" if days > 6 else "%-d %b %H:%M"
    return {
        "field": field, "type": "temporal", "axis": axis,
        "scale": {"type": "utc", "domain": list(domain), "nice": False},
    }  # fmt: skip


def _rules(domain: Sequence[int]) -> Vega:
    return {
        "data": {"name": "e"}, "transform": [{"filter": "datum.row == 'versions' || datum.row == 'deploys'"}],
        "mark": {"type": "rule", "color": _VERSION, "strokeWidth": 1, "strokeDash": [2, 2], "clip": True},
        "encoding": {"x": _x(domain, "at")},
    }  # fmt: skip


def _lane(events: Sequence[Vega], domain: Sequence[int]) -> Vega:
    """The lane on top: what happened, a line for each kind, versions and deploys with their names."""
    rows = [row for row in ROWS if any(e["row"] == row for e in events)] or ["versions"]
    axis = {"title": None, "domain": False, "ticks": False, "labelPadding": 6, "grid": False, **_EXTENT}
    y = {"field": "row", "type": "nominal", "scale": {"domain": rows}, "axis": axis}
    shapes = {"domain": rows, "range": [_SHAPES[row][0] for row in rows]}
    colours = {"domain": rows, "range": [_SHAPES[row][1] for row in rows]}
    named = [e for e in events if e["row"] in ("versions", "deploys")]
    points = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "clip": True},
        "encoding": {
            "x": _x(domain, "at"), "y": y,
            "shape": {"field": "row", "type": "nominal", "scale": shapes, "legend": None},
            "color": {"field": "row", "type": "nominal", "scale": colours, "legend": None},
            "tooltip": [{"field": "label", "title": "what"}, {"field": "t", "title": "at, UTC"}],
        },
    }  # fmt: skip
    layers: list[Vega] = [_rules(domain), points]
    if 0 < len(named) <= 8:
        layers.append({
            "transform": [{"filter": "datum.row == 'versions' || datum.row == 'deploys'"}],
            "mark": {"type": "text", "align": "left", "dx": 7, "fontSize": 11, "limit": 120},
            "encoding": {"x": _x(domain, "at"), "y": y, "text": {"field": "label"}},
        })  # fmt: skip
    return {"data": {"name": "e"}, "height": 18 * len(rows), "layer": layers}


def _panel(panel: Panel, domain: Sequence[int], *, few: bool) -> Vega:
    key, low, high = panel.key, *_ends(panel)
    log = panel.kind == "p"
    axis: Vega = {
        "title": None, "tickCount": 4, "domain": False, "ticks": False, "labelPadding": 6, "format": "~g" if log else
        "~s" if high >= 10_000 else "~r", "grid": True, **_EXTENT,
    }  # fmt: skip
    if log:
        axis["values"] = [v for v in (1e-9, 1e-6, 0.001, 0.01, 0.1, 1.0) if v >= low]
    scale = {"type": "log" if log else "linear", "domain": [low, high], "nice": False, "zero": False, "clamp": True}

    def y(end: str = "") -> Vega:
        return {"field": f"{key}{end}", "type": "quantitative", "scale": scale, "axis": axis}

    def mark(kind: str, **style: Any) -> Vega:
        return {"type": kind, "clip": True, "invalid": "break-paths-filter-domains", **style}

    x, layers = _x(domain), [_rules(domain)]
    layers.append({"mark": mark("area", color=_SERIES, opacity=0.16),
                   "encoding": {"x": x, "y": y("l"), "y2": {"field": f"{key}h"}}})  # fmt: skip
    if few:  # a band over one window alone would have no width
        layers.append({"mark": mark("rule", color=_SERIES, opacity=0.4),
                       "encoding": {"x": x, "y": y("l"), "y2": {"field": f"{key}h"}}})  # fmt: skip
    if panel.estimated:
        layers.append({"mark": mark("area", color=_SECOND, opacity=0.12),
                       "encoding": {"x": x, "y": y("f"), "y2": {"field": f"{key}g"}}})  # fmt: skip
        layers.append({"mark": mark("line", color=_SECOND, strokeDash=[5, 3], strokeWidth=1.4),
                       "encoding": {"x": x, "y": y("e")}})  # fmt: skip
    layers.append({"mark": mark("rule", color=_ALARM, strokeWidth=1),
                   "encoding": {"x": _x(domain, "a"), "x2": {"field": "b"}, "y": y("t")}})  # fmt: skip
    layers.append({"mark": mark("line", color=_SERIES, strokeWidth=1.5, opacity=0.5 if log else 1),
                   "encoding": {"x": x, "y": y()}})  # fmt: skip
    layers.append({
        "transform": [{"filter": f"isValid(datum.{key})"}], "mark": mark("point", filled=True, opacity=1),
        "encoding": {"x": x, "y": y(), **_status(f"{key}s", few=few), "tooltip": _tooltip(panel)},
    })  # fmt: skip
    layers.append({
        "transform": [{"filter": f"!isValid(datum.{key}) && !datum.gap"}],
        "mark": {"type": "point", "shape": "cross", "angle": 45, "size": 30, "color": _MUTED, "opacity": 1},
        "encoding": {"x": x, "y": {"value": 78}, "tooltip": [{"field": "t", "title": "not measured; window ends, UTC"}]},
    })  # fmt: skip
    limit = next((v.limit for v in reversed(list(panel.values.values())) if v.limit is not None), None)
    words = "" if limit is None else f" ({panel.limit_word} {limit:.3g})"
    return {"title": f"{panel.title}{words}", "data": {"name": "w"}, "height": 84, "layer": layers}


def _status(field: str, *, few: bool) -> Vega:
    """Shape, colour and size by the verdict of a number."""
    small = 36 if few else 16
    ranges: dict[str, list[Any]] = {
        "shape": ["circle", "triangle-up", "cross"], "color": [_SERIES, _ALARM, _MUTED], "size": [small, 70, small],
    }  # fmt: skip
    return {
        channel: {
            "field": field, "type": "nominal", "scale": {"domain": _STATUS, "range": values}, "legend": None,
        }
        for channel, values in ranges.items()
    }  # fmt: skip


def _tooltip(panel: Panel) -> list[Vega]:
    key = panel.key
    lines = [
        {"field": "t", "title": "window ends, UTC"}, {"field": key, "type": "quantitative", "title": panel.title},
        {"field": f"{key}l", "type": "quantitative", "title": "interval from"},
        {"field": f"{key}h", "type": "quantitative", "title": "to"}, {"field": f"{key}n", "title": "n"},
    ]  # fmt: skip
    if panel.estimated:
        lines.append({"field": f"{key}e", "type": "quantitative", "title": "estimated"})
    return lines


def _bars(field: str, title: str, domain: Sequence[int], top: float | None = None) -> Vega:
    axis = {"title": None, "tickCount": 2, "domain": False, "ticks": False, "labelPadding": 6, "format": "~s", **_EXTENT}
    scale: Vega = {"zero": True, "nice": top is None}
    if top is not None:
        scale["domain"] = [0, top]
    bar = {
        "mark": {"type": "bar", "fill": _SERIES, "fillOpacity": 0.3, "stroke": _SERIES, "strokeWidth": 0.5,
                 "clip": True},
        "encoding": {
            "x": _x(domain, "a"), "x2": {"field": "b"}, "y": {"field": field, "type": "quantitative", "scale": scale,
                                                             "axis": axis},
            "tooltip": [{"field": "t", "title": "window ends, UTC"}, {"field": field, "title": title}],
        },
    }  # fmt: skip
    return {"title": title, "data": {"name": "w"}, "height": 36, "layer": [_rules(domain), bar]}


def _ends(panel: Panel) -> tuple[float, float]:
    """Where the scale of a panel begins and ends."""
    parts = ((v.value, v.low, v.high, v.limit, v.estimated) for v in panel.values.values())
    found = [x for part in parts for x in part if x is not None]
    if panel.kind == "p":
        return max(min([*found, 0.01]) / 2, 1e-9), 1.3
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = max((high - low) * 0.12, 0.01 if panel.share else (abs(high) or 1.0) * 0.02)
    bottom = max(low - pad, 0.0) if low >= 0 else low - pad
    return bottom, min(high + pad, 1.0) if panel.share and high <= 1 else high + pad


def _short(value: float) -> float:
    """Six digits: more are of no use to a chart, and take room."""
    return float(f"{value:.6g}")


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")

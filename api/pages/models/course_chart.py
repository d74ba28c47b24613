"""The chart of a course: small multiples on one axis of time, as a Vega-Lite specification that the browser draws."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from api.pages.models.course import Course, Panel
from api.pages.models.store import CourseWindow, Value
from reports.charts.records import Rule

Vega = dict[str, Any]
MOST_TITLE: Final = 40  # characters
BREAK: Final = "break-paths-filter-domains"  # no line crosses what was not measured
BASIS: Final = {"minExtent": 50, "maxExtent": 50}  # the same in all panels, so that times line up
_SERIES, _SECOND, _ALARM, _MUTED, _VERSION = (
    f"var(--chart-{name})" for name in ("series", "second", "alarm", "muted", "version")
)
_DAY: Final = 86_400_000  # ms
_STEPS: Final = (60_000, 300_000, 900_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, _DAY, 2 * _DAY, 7 * _DAY)
ROWS: Final = ("versions", "deploys", "references", "specs", "alerts", "retrains")
_SHAPES: Final = {
    "versions": ("square", _VERSION), "deploys": ("triangle-right", _VERSION), "references": ("cross", _MUTED),
    "specs": ("diamond", _MUTED), "alerts": ("triangle-up", _ALARM), "retrains": ("circle", _SERIES),
}  # fmt: skip


def happenings(course: Course) -> list[Vega]:
    """What happened, in order: when, of which kind, in which words."""
    found = [{"at": rule.at, "row": _row(rule), "label": rule.label} for rule in course.rules]
    kinds = {"alerts": "alerts", "retrain ": "retrains", "run ": "retrains"}
    for tick in course.ticks:
        row = next((r for prefix, r in kinds.items() if tick.kind.startswith(prefix.rstrip("s"))), "alerts")
        found.append({"at": tick.at, "row": row, "label": f"{tick.kind}: {tick.label.replace('_', ' ')}"})
    for revision, at, author in course.happened.specs if course.happened else ():
        found.append({"at": at, "row": "specs", "label": f"spec revision {revision} by {author}"})
    return sorted(found, key=lambda one: one["at"])


def _row(rule: Rule) -> str:
    if rule.kind == "baseline":
        return "references"
    return "deploys" if rule.label.endswith(" deployed") else "versions"


def course_chart(course: Course) -> Vega:
    """The chart of a course that has at least one window."""
    domain = [ms(course.windows[0].from_ts), ms(course.windows[-1].to_ts)]
    events = [
        {**one, "at": ms(one["at"]), "t": moment_text(one["at"]), "name": str(one["label"]).split()[0]}
        for one in happenings(course)
    ]
    panels = [_panel(panel, domain, few=len(course.windows) <= 60) for panel in course.panels]
    panels += [_bars("rows", "rows per window", domain), _bars("labels", "rows with an outcome, share", domain, top=1)]
    with_labels(panels[-1])
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "datasets": {"w": _rows(course), "e": events},
        "spacing": 14, "vconcat": [_lane(events, domain), *panels],
    }  # fmt: skip


def height_of(course: Course) -> int:
    """The largest of the heights that a page reserves that is no more than that of the chart."""
    wanted = 166 + 116 * len(course.panels) + 18 * len({one["row"] for one in happenings(course)})
    return next((h for h in (800, 640, 480, 400) if h <= wanted), 320)


def _rows(course: Course) -> list[Vega]:
    found = []
    for window in course.windows:
        row: Vega = {
            "a": ms(window.from_ts), "b": ms(window.to_ts), "t": moment_text(window.to_ts), "rows": window.rows,
            "labels": short(window.labels / window.rows) if window.rows else None, "v": window.verdict,
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
    found: Vega = {f"{panel.key}{end}": short(x) for end, x in row.items() if x is not None}
    return found | {f"{panel.key}s": status, f"{panel.key}n": v.n}


def _broken(rows: list[Vega], windows: Sequence[CourseWindow]) -> list[Vega]:
    """The rows, with an empty one where half a window or more lies between two: no line crosses unmeasured time."""
    found = rows[:1]
    for (before, row), (one, other) in zip(pairwise(rows), pairwise(windows), strict=True):
        if (other.from_ts - one.to_ts) > (one.to_ts - one.from_ts) / 2:
            found.append({"a": before["b"], "b": row["a"], "gap": 1})
        found.append(row)
    return found


def axis_of_time(domain: Sequence[int], field: str = "b") -> Vega:
    """The axis that all panels of a chart share, in milliseconds of UTC; `with_labels` gives it to the last one."""
    values, form = _marks(domain)
    axis = {
        "title": None, "values": values, "labelExpr": f"utcFormat(datum.value, '{form}')", "labels": False,
        "ticks": False, "domain": False, "grid": False, "labelOverlap": True, "labelFlush": True,
    }  # fmt: skip
    scale = {"domain": list(domain), "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": scale}


def with_labels(panel: Vega) -> None:
    """Give a panel the labels of the shared axis, in each of its layers."""
    for layer in panel["layer"]:
        if "x" in layer["encoding"]:
            layer["encoding"]["x"]["axis"] |= {"labels": True, "ticks": True, "domain": True}


def _marks(domain: Sequence[int]) -> tuple[list[int], str]:
    """Where the axis has its labels, at whole hours, days or months, and how they are written."""
    span = (domain[1] - domain[0]) / 8
    if span < 20 * _DAY:
        step = next((s for s in (*_STEPS, 14 * _DAY) if s >= span), 14 * _DAY)
        first = -(-domain[0] // step) * step
        return list(range(first, domain[1] + 1, step)), "%-d %b" if step >= _DAY else "%-d %b %H:%M"
    start, months = datetime.fromtimestamp(domain[0] / 1000, UTC), max(1, round(span / (30 * _DAY)))
    found: list[int] = []
    year, month = start.year, start.month
    while len(found) < 40:
        month += months
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
        if year > 9999 or (at := ms(datetime(year, month, 1, tzinfo=UTC))) > domain[1]:
            break
        found.append(at)
    return found or list(domain), "%b %Y"


def _rules(domain: Sequence[int]) -> Vega:
    return {
        "data": {"name": "e"},
        "transform": [{"filter": "indexof(['versions', 'deploys', 'references'], datum.row) >= 0"}],
        "mark": {"type": "rule", "color": _VERSION, "strokeWidth": 1, "strokeDash": [2, 2], "clip": True},
        "encoding": {"x": axis_of_time(domain, "at")},
    }  # fmt: skip


def _lane(events: Sequence[Vega], domain: Sequence[int]) -> Vega:
    """The lane on top: what happened, a line for each kind, versions and deploys with their names."""
    rows = [row for row in ROWS if any(e["row"] == row for e in events)] or ["versions"]
    axis = {"title": None, "domain": False, "ticks": False, "labelPadding": 6, "grid": False, **BASIS}
    y = {"field": "row", "type": "nominal", "scale": {"domain": rows}, "axis": axis}
    named = [e for e in events if e["row"] in ("versions", "deploys")]
    points = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "clip": True},
        "encoding": {
            "x": axis_of_time(domain, "at"), "y": y,
            "shape": {"condition": [{"test": f"datum.row == '{r}'", "value": _SHAPES[r][0]} for r in rows],
                      "value": "circle"},
            "color": {"condition": [{"test": f"datum.row == '{r}'", "value": _SHAPES[r][1]} for r in rows],
                      "value": _MUTED},
            "tooltip": [{"field": "label", "title": "what"}, {"field": "t", "title": "at, UTC"}],
        },
    }  # fmt: skip
    layers: list[Vega] = [_rules(domain), points]
    if 0 < len(named) <= 8:
        layers.append({
            "transform": [{"filter": "datum.row == 'versions' || datum.row == 'deploys'"}],
            "mark": {"type": "text", "align": "left", "dx": 7, "fontSize": 11, "limit": 120},
            "encoding": {"x": axis_of_time(domain, "at"), "y": y, "text": {"field": "name"}},
        })  # fmt: skip
    return {"data": {"name": "e"}, "height": 18 * len(rows), "layer": layers}


def _panel(panel: Panel, domain: Sequence[int], *, few: bool) -> Vega:
    key, low, high = panel.key, *_ends(panel)
    log = panel.kind == "p"
    axis: Vega = {
        "title": None, "tickCount": 4, "domain": False, "ticks": False, "labelPadding": 6, "format": "~g" if log else
        "~s" if high >= 10_000 else "~r", "grid": True, **BASIS,
    }  # fmt: skip
    if log:
        axis["values"] = [v for v in (1e-9, 1e-6, 0.001, 0.01, 0.1, 1.0) if v >= low]
    scale: Vega = {"domain": [low, high], "nice": False, "clamp": True}
    scale |= {"type": "log"} if log else {"zero": False}

    def y(end: str = "") -> Vega:
        return {"field": f"{key}{end}", "type": "quantitative", "scale": scale, "axis": axis}

    def mark(kind: str, **style: Any) -> Vega:
        return {"type": kind, "clip": True, "invalid": BREAK, **style}

    x, layers = axis_of_time(domain), [_rules(domain)]
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
                   "encoding": {"x": axis_of_time(domain, "a"), "x2": {"field": "b"}, "y": y("t")}})  # fmt: skip
    layers.append({"mark": mark("line", color=_SERIES, strokeWidth=1.5, opacity=0.5 if log else 1),
                   "encoding": {"x": x, "y": y()}})  # fmt: skip
    layers.append({
        "transform": [{"filter": f"isValid(datum.{key})"}], "mark": mark("point", filled=True, opacity=1),
        "encoding": {"x": x, "y": y(), **status_marks(f"{key}s", small=36 if few else 16), "tooltip": _tooltip(panel)},
    })  # fmt: skip
    layers.append({
        "transform": [{"filter": f"!isValid(datum.{key}) && !datum.gap"}],
        "mark": {"type": "point", "shape": "cross", "angle": 45, "size": 30, "color": _MUTED, "opacity": 1},
        "encoding": {"x": x, "y": {"value": 78}, "tooltip": [{"field": "t", "title": "not measured; ends, UTC"}]},
    })  # fmt: skip
    limit = next((v.limit for v in reversed(list(panel.values.values())) if v.limit is not None), None)
    words = "" if limit is None else f"({panel.limit_word} {limit:.3g})"
    return {
        "title": titled(panel.title, words),
        "data": {"name": "w"},
        "height": 84,
        "layer": layers,
    }


def titled(title: str, words: str) -> Vega:
    """The title of a panel; on two lines where one would not fit on a telephone."""
    text = [title, words] if words and len(title) + len(words) > MOST_TITLE else f"{title} {words}".strip()
    return {"text": text, "limit": 330}


def status_marks(field: str, *, small: int) -> Vega:
    """Shape, colour and size of a point by the verdict of its number."""

    def chosen(alarm: Any, unknown: Any, other: Any) -> Vega:
        tests = [{"test": f"datum.{field} == '{word}'", "value": v} for word, v in
                 (("alarm", alarm), ("unknown", unknown))]  # fmt: skip
        return {"condition": tests, "value": other}

    return {
        "shape": chosen("triangle-up", "cross", "circle"), "color": chosen(_ALARM, _MUTED, _SERIES),
        "size": chosen(70, small, small),
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
    axis = {"title": None, "tickCount": 2, "domain": False, "ticks": False, "labelPadding": 6, "format": "~s", **BASIS}
    scale: Vega = {"zero": True, "nice": top is None}
    if top is not None:
        scale["domain"] = [0, top]
    bar = {
        "mark": {"type": "bar", "fill": _SERIES, "fillOpacity": 0.3, "stroke": _SERIES, "strokeWidth": 0.5,
                 "clip": True},
        "encoding": {
            "x": axis_of_time(domain, "a"), "x2": {"field": "b"},
            "y": {"field": field, "type": "quantitative", "scale": scale, "axis": axis},
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


def short(value: float) -> float:
    """Six digits: more are of no use to a chart, and take room."""
    return float(f"{value:.6g}")


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def moment_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")

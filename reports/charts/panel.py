"""One panel of a timeline: points, line, band, limits."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

from reports.charts.layers import LEFT_PX, Axis, chart_of, epoch_ms, layered, rule_marks, text_mark
from reports.charts.palette import ALARM, INK, MUTED, SERIES
from reports.charts.records import Panel, Rule, Vega
from reports.charts.text import short

SHAPES: Final[Mapping[str, str]] = {"ok": "circle", "alarm": "triangle-up", "unknown": "cross"}
HEIGHTS: Final[Mapping[str, int]] = {"line": 92, "p": 92, "bars": 40}


def _domain(panel: Panel) -> tuple[float, float]:
    found = [v for p in panel.points for v in (p.value, p.low, p.high, p.limit) if v is not None and math.isfinite(v)]
    if panel.kind == "bars":
        return 0.0, panel.top or max([*found, 1e-9]) * 1.05
    if panel.kind == "p":
        return max(min([*found, 0.01]) / 2, 1e-9), 1.3
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = max((high - low) * 0.12, 0.01 if panel.top == 1 else (abs(high) or 1.0) * 0.02)
    return (max(low - pad, 0.0) if low >= 0 else low - pad), (min(high + pad, panel.top) if panel.top else high + pad)


def _inside(value: float | None, low: float, high: float) -> float | None:
    """A value beyond the axis sits on its edge: a mark outside its panel would stretch the whole figure."""
    return None if value is None or math.isnan(value) else min(max(value, low), high)


def _label(value: float | None, low: float, high: float) -> str:
    """The true value of a point, and the side of the axis on which it lies if it is beyond."""
    if value is None or math.isnan(value):
        return "not measured"
    return f"{value:.3g}" + (", below the axis" if value < low else ", above the axis" if value > high else "")


def panel_chart(panel: Panel, rules: Sequence[Rule], axis: Axis) -> Vega:
    measured = any(p.value is not None for p in panel.points)
    height = HEIGHTS[panel.kind] if measured else 22
    low, high = _domain(panel)
    log = panel.kind == "p"
    ticks: Vega = {
        "title": None, "tickCount": 2 if panel.kind == "bars" else 4,
        "minExtent": LEFT_PX - 6, "maxExtent": LEFT_PX - 6,
        "domain": False, "ticks": False, "labelPadding": 6,
        "format": "~s" if panel.unit.endswith("/h") or high >= 1e6 else ",~r",
    }  # fmt: skip
    if not measured:
        ticks |= {"values": [], "grid": False}
    elif log:
        ticks["values"] = [v for v in (0.0001, 0.001, 0.01, 0.1, 1.0) if v >= low]
    scale = {"domain": [low, high], "type": "log" if log else "linear", "nice": False, "zero": False}
    y: Vega = {"type": "quantitative", "scale": scale, "axis": ticks}
    data = [
        {
            "start": epoch_ms(p.start), "at": epoch_ms(p.at), "value": _inside(p.value, low, high), "low": p.low,
            "high": p.high, "limit": p.limit, "status": p.status, "label": _label(p.value, low, high),
        }
        for p in panel.points
    ]  # fmt: skip
    value = {"field": "value", **y}
    charts = [chart_of([{"at": axis.domain[0], "value": low}], "point", {"opacity": 0}, x=axis.x(), y=value)]
    charts += rule_marks(rules, axis)
    if panel.kind == "bars":
        style = {"fill": SERIES, "fillOpacity": 0.28, "stroke": SERIES, "strokeWidth": 0.6, "clip": True}
        seen = [r for r in data if r["value"] is not None]
        charts.append(chart_of(seen, "bar", style, x=axis.x("start"), x2={"field": "at"}, y=value, y2={"datum": 0}))
    else:
        charts += _line(data, axis, y, faint=log)
    charts += _limits(data, axis, y, panel.limit_word) if measured else []
    blank = [r for r in data if r["value"] is None]
    if blank:
        style = {"shape": "cross", "angle": 45, "color": MUTED, "size": 40, "filled": True, "opacity": 1}
        charts.append(chart_of(blank, "point", style, x=axis.x(), y={"value": height - 7}))
    # A title of Vega's own would move up for the word of the limit, which is on the same line.
    style = {
        "align": "left",
        "baseline": "bottom",
        "fontSize": 12,
        "fontWeight": 600,
        "color": INK,
        "limit": axis.width - 24,
    }
    title = panel.title if measured else f"{panel.title} (not measured)"
    if any(p.value is not None and p.value < low for p in panel.points):
        title += f" (on the lower edge: below {low:.0e})"
    if any(p.value is not None and p.value > high for p in panel.points):
        title += f" (on the upper edge: above {short(high)})"
    charts.append(text_mark(title, {"value": 6 - LEFT_PX}, {"value": -5}, **style))
    return layered(charts, width=axis.width, height=height)


def _line(data: Sequence[Vega], axis: Axis, y: Vega, *, faint: bool) -> list[Vega]:
    charts = []
    banded = [r for r in data if r["low"] is not None and r["high"] is not None]
    low = {"field": "low", **y}
    if banded:
        style = {"color": SERIES, "opacity": 0.18, "clip": True}
        charts.append(chart_of(_broken(data), "area", style, x=axis.x(), y=low, y2={"field": "high"}))
        if len(data) <= 60:  # a band over one window alone would have no width
            style = {"color": SERIES, "opacity": 0.45, "clip": True}
            charts.append(chart_of(banded, "rule", style, x=axis.x(), y=low, y2={"field": "high"}))
    value = {"field": "value", **y}
    style = {"color": SERIES, "strokeWidth": 1.6, "clip": True, "opacity": 0.55 if faint else 1}
    charts.append(chart_of(_broken(data), "line", style, x=axis.x(), y=value))
    size = 42 if len(data) <= 80 else 20
    for status, shape in SHAPES.items():
        rows = [r for r in data if r["status"] == status and r["value"] is not None]
        if rows:
            colour = {"ok": SERIES, "alarm": ALARM, "unknown": MUTED}[status]
            style = {"shape": shape, "color": colour, "filled": True, "opacity": 1}
            charts.append(
                chart_of(
                    rows,
                    "point",
                    {**style, "size": size * (1.7 if status == "alarm" else 1)},
                    x=axis.x(),
                    y=value,
                    description={"field": "label", "type": "nominal"},
                )
            )
    return charts


def _broken(data: Sequence[Vega]) -> list[Vega]:
    """The points, with a gap where half a window or more lies between two: no line crosses unmeasured time."""
    found = list(data[:1])
    for before, row in itertools.pairwise(data):
        if row["start"] - before["at"] > (before["at"] - before["start"]) / 2:
            found.append({**row, "at": row["start"], "value": None, "low": None, "high": None})
        found.append(row)
    return found


def _limits(data: Sequence[Vega], axis: Axis, y: Vega, word: str) -> list[Vega]:
    rows = [r for r in data if r["limit"] is not None]
    if not rows:
        return []
    style = {"color": ALARM, "strokeWidth": 1, "clip": True}
    rule = chart_of(rows, "rule", style, x=axis.x("start"), x2={"field": "at"}, y={"field": "limit", **y})
    # On the line of the title, where nothing is drawn: next to its rule it would lie on the points that matter most.
    place = {"align": "right", "baseline": "bottom", "color": ALARM, "fontSize": 11}
    label = f"{word} {short(rows[-1]['limit'])}"
    return [rule, text_mark(label, {"value": axis.width}, {"value": -5}, **place)]

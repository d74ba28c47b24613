"""Charts: small frozen records in, one SVG out. One shared time axis, small multiples, status by shape and word.

The page variant carries its colours as CSS variables (one file serves the light and the dark theme); the print variant
carries them literally. Nothing is loaded from anywhere: vl-convert brings its own Vega. The charts are Altair's
objects with plain encodings inside: its shorthand and its check of every constructor cost half a second a chart. Altair
is imported with the first chart, never with the service.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

Theme = Literal["page", "print"]
Vega = dict[str, Any]  # a Vega-Lite specification, or a part of one
Status = Literal["ok", "alarm", "unknown"]
PanelKind = Literal["line", "p", "bars"]

# Okabe-Ito where a colour carries meaning; greys elsewhere. The CSS variables are set in api/pages/static/assay.css.
COLOURS: Final[Mapping[str, str]] = {
    "--chart-ink": "#202124",
    "--chart-muted": "#5c6066",
    "--chart-grid": "#e4e4e1",
    "--chart-series": "#0072b2",
    "--chart-alarm": "#d55e00",
    "--chart-version": "#9a4f7c",
    "--chart-second": "#e69f00",
}
INK, MUTED, GRID, SERIES, ALARM, VERSION, SECOND = COLOURS.values()
SHAPES: Final[Mapping[str, str]] = {"ok": "circle", "alarm": "triangle-up", "unknown": "cross"}
TICKS: Final[Mapping[str, tuple[str, str, bool, str]]] = {  # shape, colour, filled, word of the line they stand on
    "alert opened": ("triangle-up", ALARM, True, "alerts"),
    "alert resolved": ("circle", MUTED, False, "alerts"),
    "retrain decided": ("diamond", SERIES, True, "decisions"),
    "retrain not decided": ("diamond", MUTED, False, "decisions"),
    "run finished": ("square", SERIES, True, "runs"),
    "run refused": ("square", ALARM, False, "runs"),
}
HEIGHTS: Final[Mapping[str, int]] = {"line": 92, "p": 92, "bars": 40}
_LEFT: Final = 58  # room for the value axis, equal in all panels so that times line up
_CLIP: Final = re.compile(r"\bclip\d+\b")
_CHARACTER: Final = 5.8  # width of one character of a label, px


@dataclass(frozen=True)
class Point:
    """One window: `value` is None where nothing was measured; `status` says how it was judged."""

    start: datetime
    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    n: int | None = None
    status: Status = "ok"


@dataclass(frozen=True)
class Panel:
    """One small multiple. `p` panels are logarithmic with the alarm side below the limit; `bars` start at zero."""

    title: str
    kind: PanelKind
    unit: str
    points: tuple[Point, ...]
    limit_word: str = "limit"
    top: float | None = None  # natural end of the scale, such as 1 for shares


@dataclass(frozen=True)
class Rule:
    """A vertical line through all panels: a promotion, a rollback, a new baseline."""

    at: datetime
    label: str
    kind: Literal["version", "baseline"] = "version"


@dataclass(frozen=True)
class Tick:
    at: datetime
    kind: str  # a key of TICKS
    label: str


@dataclass(frozen=True)
class Timeline:
    start: datetime
    end: datetime
    panels: tuple[Panel, ...]
    rules: tuple[Rule, ...] = ()
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Distribution:
    """Shares of reference and window on the same bins or categories."""

    title: str
    kind: Literal["number", "category"]
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]
    n_reference: int
    n_window: int
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """The numbers behind a chart, for readers who cannot or do not want to see it."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: fixed decimals, thousands apart, None as an en dash."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.{digits}f}"


def short(value: float) -> str:
    """A number as a label of an axis: three significant digits, in full up to a million."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def timeline_table(timeline: Timeline) -> Table:
    """Every point of every panel as text."""
    rows = [
        (
            panel.title, utc(p.start), utc(p.at), number(p.value), number(p.low), number(p.high),
            number(p.limit), "–" if p.n is None else f"{p.n:,}", "not measured" if p.value is None else p.status,
        )
        for panel in timeline.panels
        for p in panel.points
    ]  # fmt: skip
    return Table(("chart", "from", "to", "value", "low", "high", "limit", "n", "status"), tuple(rows))


def distribution_table(chart: Distribution) -> Table:
    rows = [
        (bin_, number(r), number(w), f"{w - r:+.3f}")
        for bin_, r, w in zip(chart.bins, chart.reference, chart.window, strict=True)
    ]
    return Table(
        ("bin" if chart.kind == "number" else "category", "reference share", "window share", "change"), tuple(rows)
    )


@lru_cache(maxsize=128)
def timeline_svg(timeline: Timeline, *, width: int = 960, theme: Theme = "page") -> str:
    """Small multiples on one time axis. Equal input gives equal bytes.

    Args:
        timeline: panels in the order they are drawn; a timeline without panels gives the lane of events alone.
        width: of the whole picture, px.
        theme: `page` colours by CSS variable, `print` literally.
    """
    return _render(timeline_spec(timeline, width=width, theme=theme), theme)


@lru_cache(maxsize=64)
def distribution_svg(chart: Distribution, *, width: int = 560, theme: Theme = "page") -> str:
    """Reference against window: two outlines on the same bins, or dots per category sorted by change."""
    return _render(distribution_spec(chart, width=width, theme=theme), theme)


@lru_cache(maxsize=32)
def loss_svg(losses: tuple[float, ...], *, width: int = 480, theme: Theme = "page") -> str:
    """The loss of each step; of a long run the mean of equal stretches, so that the picture stays small."""
    return _render(loss_spec(losses, width=width, theme=theme), theme)


def timeline_spec(timeline: Timeline, *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a timeline."""
    import altair as alt

    domain = (_ms(timeline.start), max(_ms(timeline.end), _ms(timeline.start) + 1))
    inner = width - _LEFT - 20
    last = len(timeline.panels)
    with _unchecked():
        lane = _lane(timeline, _Axis(domain, inner, labelled=last == 0))
        panels = [
            _panel(p, timeline.rules, _Axis(domain, inner, labelled=i == last - 1))
            for i, p in enumerate(timeline.panels)
        ]
        return _specification(alt.VConcatChart(vconcat=[lane, *panels], spacing=12), theme)


def distribution_spec(chart: Distribution, *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a distribution."""
    with _unchecked():
        return _specification((_outlines if chart.kind == "number" else _dots)(chart, width), theme)


def loss_spec(losses: Sequence[float], *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a loss curve."""
    size = max(1, math.ceil(len(losses) / 120))
    parts = [losses[i : i + size] for i in range(0, len(losses), size)]
    rows = [{"step": min((i + 1) * size, len(losses)), "loss": sum(p) / len(p)} for i, p in enumerate(parts)]
    axis = {"domain": False, "ticks": False, "tickCount": 4}
    said = "loss" if size == 1 else f"loss, mean of {size} steps"
    x = {"field": "step", "type": "quantitative", "axis": {**axis, "title": "step", "grid": False, "format": ",d"},
         "scale": {"domain": [0, len(losses)], "nice": False}}  # fmt: skip
    y = {"field": "loss", "type": "quantitative", "axis": {**axis, "title": None}, "scale": {"zero": True}}
    title = {"text": said, "anchor": "start", "frame": "group", "fontSize": 12}
    with _unchecked():
        drawn = _chart(rows, "line", {"color": SERIES, "strokeWidth": 1.6}, x=x, y=y)
        return _specification(_layers([drawn], width=width - 60, height=80, title=title), theme)


@contextmanager
def _unchecked() -> Iterator[None]:
    """Altair checks each object as it is made; the whole is checked once, when it is done."""
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        yield


def _specification(chart: Any, theme: Theme) -> Vega:
    """A finished chart as plain data.

    Raises:
        altair.utils.schemapi.SchemaValidationError: what was drawn is no Vega-Lite; a print is checked, a page is not,
            for it would wait twice as long for the same answer.
    """
    for name, value in _frame(theme).items():
        chart[name] = value
    found: Vega = chart.to_dict(validate=theme == "print")
    found["datasets"] = {name: list(rows) for name, rows in found["datasets"].items()}
    return found


@dataclass(frozen=True)
class _Axis:
    """The time axis every panel shares."""

    domain: tuple[int, int]
    width: int
    labelled: bool

    def holds(self, at: datetime) -> bool:
        return self.domain[0] <= _ms(at) <= self.domain[1]

    @property
    def _format(self) -> str:
        hours = (self.domain[1] - self.domain[0]) / 3_600_000
        return "%-d %b" if hours > 144 else "%-d %b %H:%M" if hours > 0.5 else "%H:%M:%S"

    def x(self, field: str = "at") -> Vega:
        axis = {
            "title": None, "labels": self.labelled, "ticks": self.labelled, "domain": self.labelled, "grid": True,
            "tickCount": max(3, self.width // 120), "labelOverlap": True, "labelFlush": True, "format": self._format,
        }  # fmt: skip
        return {
            "field": field, "type": "temporal", "axis": axis,
            "scale": {"type": "utc", "domain": list(self.domain), "nice": False},
        }  # fmt: skip


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _chart(rows: Iterable[Mapping[str, Any]], mark: str, style: Vega, **encoding: Any) -> Any:
    import altair as alt

    data = alt.InlineData(values=tuple(dict(r) for r in rows))  # a tuple, for Altair copies lists again and again
    style = {"aria": "description" in encoding, **style}  # a label on every point makes a page of a megabyte
    return alt.Chart(data, mark=alt.MarkDef(type=mark, **style), encoding=alt.FacetedEncoding(**encoding))  # type: ignore[arg-type]  # the kind of mark is a string here


def _layers(charts: Sequence[Any], **more: Any) -> Any:
    import altair as alt

    return alt.LayerChart(layer=list(charts), **more)


def _text(label: str, x: Vega, y: Vega, **style: Any) -> Any:
    return _chart(
        [{"label": label, **x.pop("row", {})}], "text", style, x=x, y=y, text={"field": "label", "type": "nominal"}
    )


def _rules(rules: Sequence[Rule], axis: _Axis) -> list[Any]:
    charts = []
    for kind, style in (
        ("baseline", {"color": MUTED, "strokeDash": [2, 3], "strokeWidth": 1.0}),
        ("version", {"color": VERSION, "strokeWidth": 1.6}),
    ):
        rows = [{"at": _ms(r.at)} for r in rules if r.kind == kind and axis.holds(r.at)]
        if rows:
            charts.append(_chart(rows, "rule", style, x=axis.x()))
    return charts


def _staggered(rules: Sequence[Rule], axis: _Axis) -> list[tuple[Rule, int, bool]]:
    """Rules with the line of their label, the first on which it overlaps none before it, and whether it is left."""
    ends: list[float] = []
    placed = []
    for rule in sorted((r for r in rules if axis.holds(r.at)), key=lambda r: r.at):
        x = (_ms(rule.at) - axis.domain[0]) / (axis.domain[1] - axis.domain[0]) * axis.width
        size = len(rule.label) * _CHARACTER + 10
        left = x + size > axis.width
        begin = x - size if left else x
        line = next((i for i, end in enumerate(ends) if end <= begin), len(ends))
        ends[line : line + 1] = [begin + size]
        placed.append((rule, line, left))
    return placed


def _lane(timeline: Timeline, axis: _Axis) -> Any:
    """The lane on top: what happened, as labelled rules and ticks."""
    labels = _staggered(timeline.rules, axis)
    top = 14 * (1 + max((line for _, line, _ in labels), default=-1))
    kinds = [k for k in TICKS if any(t.kind == k and axis.holds(t.at) for t in timeline.ticks)]
    words = list(dict.fromkeys(TICKS[k][3] for k in kinds))
    charts = [_chart([{"at": axis.domain[0]}], "point", {"opacity": 0}, x=axis.x()), *_rules(timeline.rules, axis)]
    for rule, line, left in labels:
        place = {**axis.x(), "row": {"at": _ms(rule.at)}}
        colour = VERSION if rule.kind == "version" else MUTED
        style = {"align": "right" if left else "left", "dx": -5 if left else 5, "baseline": "middle", "fontSize": 11}
        charts.append(_text(rule.label, place, {"value": 8 + 14 * line}, color=colour, **style))
    for kind in kinds:
        shape, colour, filled, word = TICKS[kind]
        rows = [
            {"at": _ms(t.at), "label": f"{kind}: {t.label}"}
            for t in timeline.ticks
            if t.kind == kind and axis.holds(t.at)
        ]
        drawn: Vega = {"shape": shape, "color": colour, "filled": filled, "size": 64, "strokeWidth": 1.6, "opacity": 1}
        y = {"value": top + 10 + 16 * words.index(word)}
        charts.append(_chart(rows, "point", drawn, x=axis.x(), y=y, description={"field": "label", "type": "nominal"}))
    for i, word in enumerate(words):
        charts.append(
            _text(word, {"value": 0}, {"value": top + 10 + 16 * i}, align="right", dx=-6, color=MUTED, fontSize=11)
        )
    return _layers(charts, width=axis.width, height=max(18, top + 16 * len(words) + 4))


def _domain(panel: Panel) -> tuple[float, float]:
    found = [v for p in panel.points for v in (p.value, p.low, p.high, p.limit) if v is not None and math.isfinite(v)]
    if panel.kind == "bars":
        return 0.0, panel.top or max([*found, 1e-9]) * 1.05
    if panel.kind == "p":
        return max(min([*found, 0.01]) / 2, 1e-9), 1.3
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = max((high - low) * 0.12, 0.01 if panel.top == 1 else (abs(high) or 1.0) * 0.02)
    return (max(low - pad, 0.0) if low >= 0 else low - pad), (min(high + pad, panel.top) if panel.top else high + pad)


def _panel(panel: Panel, rules: Sequence[Rule], axis: _Axis) -> Any:
    measured = any(p.value is not None for p in panel.points)
    height = HEIGHTS[panel.kind] if measured else 22
    low, high = _domain(panel)
    log = panel.kind == "p"
    ticks: Vega = {
        "title": None, "tickCount": 2 if panel.kind == "bars" else 4, "minExtent": _LEFT - 6, "maxExtent": _LEFT - 6,
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
            "start": _ms(p.start), "at": _ms(p.at), "value": p.value, "low": p.low, "high": p.high, "limit": p.limit,
            "status": p.status,
        }
        for p in panel.points
    ]  # fmt: skip
    value = {"field": "value", **y}
    charts = [_chart([{"at": axis.domain[0], "value": low}], "point", {"opacity": 0}, x=axis.x(), y=value)]
    charts += _rules(rules, axis)
    if panel.kind == "bars":
        style = {"fill": SERIES, "fillOpacity": 0.28, "stroke": SERIES, "strokeWidth": 0.6, "clip": True}
        seen = [r for r in data if r["value"] is not None]
        charts.append(_chart(seen, "bar", style, x=axis.x("start"), x2={"field": "at"}, y=value, y2={"datum": 0}))
    else:
        charts += _line(data, axis, y, faint=log)
    charts += _limits(data, axis, y, panel.limit_word) if measured else []
    blank = [r for r in data if r["value"] is None]
    if blank:
        style = {"shape": "cross", "angle": 45, "color": MUTED, "size": 40, "filled": True, "opacity": 1}
        charts.append(_chart(blank, "point", style, x=axis.x(), y={"value": height - 7}))
    # A title of Vega's own would move up for the word of the limit, which stands on the same line.
    style = {
        "align": "left",
        "baseline": "bottom",
        "fontSize": 12,
        "fontWeight": 600,
        "color": INK,
        "limit": axis.width - 24,
    }
    title = panel.title if measured else f"{panel.title} (not measured)"
    charts.append(_text(title, {"value": 6 - _LEFT}, {"value": -5}, **style))
    return _layers(charts, width=axis.width, height=height)


def _line(data: Sequence[Vega], axis: _Axis, y: Vega, *, faint: bool) -> list[Any]:
    charts = []
    banded = [r for r in data if r["low"] is not None and r["high"] is not None]
    low = {"field": "low", **y}
    if banded:
        style = {"color": SERIES, "opacity": 0.18, "clip": True}
        charts.append(_chart(_broken(data), "area", style, x=axis.x(), y=low, y2={"field": "high"}))
        if len(data) <= 60:  # a band over one window alone would have no width
            style = {"color": SERIES, "opacity": 0.45, "clip": True}
            charts.append(_chart(banded, "rule", style, x=axis.x(), y=low, y2={"field": "high"}))
    value = {"field": "value", **y}
    style = {"color": SERIES, "strokeWidth": 1.6, "clip": True, "opacity": 0.55 if faint else 1}
    charts.append(_chart(_broken(data), "line", style, x=axis.x(), y=value))
    size = 42 if len(data) <= 80 else 20
    for status, shape in SHAPES.items():
        rows = [r for r in data if r["status"] == status and r["value"] is not None]
        if rows:
            colour = {"ok": SERIES, "alarm": ALARM, "unknown": MUTED}[status]
            style = {"shape": shape, "color": colour, "filled": True, "opacity": 1}
            charts.append(
                _chart(rows, "point", {**style, "size": size * (1.7 if status == "alarm" else 1)}, x=axis.x(), y=value)
            )
    return charts


def _broken(data: Sequence[Vega]) -> list[Vega]:
    """The points with a blank wherever half a window or more lies between two: no line is drawn across time that
    nothing was measured in."""
    found = list(data[:1])
    for before, row in itertools.pairwise(data):
        if row["start"] - before["at"] > (before["at"] - before["start"]) / 2:
            found.append({**row, "at": row["start"], "value": None, "low": None, "high": None})
        found.append(row)
    return found


def _limits(data: Sequence[Vega], axis: _Axis, y: Vega, word: str) -> list[Any]:
    rows = [r for r in data if r["limit"] is not None]
    if not rows:
        return []
    style = {"color": ALARM, "strokeWidth": 1, "clip": True}
    rule = _chart(rows, "rule", style, x=axis.x("start"), x2={"field": "at"}, y={"field": "limit", **y})
    # On the line of the title, where nothing is drawn: beside its rule it would lie on the points that matter most.
    place = {"align": "right", "baseline": "bottom", "color": ALARM, "fontSize": 11}
    label = f"{word} {short(rows[-1]['limit'])}"
    return [rule, _text(label, {"value": axis.width}, {"value": -5}, **place)]


def _outlines(chart: Distribution, width: int) -> Any:
    step = math.ceil(len(chart.bins) * 44 / (width - 70))  # room for one label
    shown = range(0, len(chart.bins), step)
    names = "[" + ",".join(json.dumps(b) for b in chart.bins) + "][datum.value]"
    x = {
        "field": "bin", "type": "quantitative", "scale": {"domain": [-0.5, len(chart.bins) - 0.5], "nice": False},
        "axis": {"title": chart.unit or None, "values": list(shown), "labelExpr": names, "grid": False},
    }  # fmt: skip
    y = {
        "field": "share",
        "type": "quantitative",
        "axis": {"title": "share of rows", "tickCount": 4, "domain": False, "ticks": False},
    }
    sides = ((chart.reference, MUTED, [4, 3]), (chart.window, SERIES, [1, 0]))
    charts = [
        _chart(
            [{"bin": i, "share": share} for i, share in enumerate(shares)],
            "line", {"interpolate": "step", "color": colour, "strokeDash": dash, "strokeWidth": 1.8}, x=x, y=y,
        )
        for shares, colour, dash in sides
    ]  # fmt: skip
    return _layers(charts, width=width - 70, height=150, title=_key(chart))


def _dots(chart: Distribution, width: int) -> Any:
    order = sorted(range(len(chart.bins)), key=lambda i: -abs(chart.window[i] - chart.reference[i]))[:12]
    rows = [{"bin": chart.bins[i][:40], "reference": chart.reference[i], "window": chart.window[i]} for i in order]
    y = {
        "field": "bin", "type": "nominal", "sort": [r["bin"] for r in rows],
        "axis": {"title": None, "domain": False, "ticks": False, "grid": True, "labelLimit": 180},
    }  # fmt: skip
    axis = {"title": "share of rows", "tickCount": 5, "domain": False, "ticks": False}

    def x(field: str) -> Vega:
        return {"field": field, "type": "quantitative", "scale": {"zero": True}, "axis": axis}

    dot = {"shape": "circle", "size": 60, "opacity": 1}
    charts = [
        _chart(rows, "rule", {"color": MUTED, "strokeWidth": 1}, x=x("reference"), x2={"field": "window"}, y=y),
        _chart(rows, "point", {**dot, "filled": False, "color": MUTED}, x=x("reference"), y=y),
        _chart(rows, "point", {**dot, "filled": True, "color": SERIES}, x=x("window"), y=y),
    ]
    return _layers(charts, width=width - 200, height=22 * len(rows), title=_key(chart))


def _key(chart: Distribution) -> Vega:
    marks = ("dashed", "solid") if chart.kind == "number" else ("hollow", "filled")
    text = f"{marks[0]}: reference, n = {chart.n_reference:,}; {marks[1]}: window, n = {chart.n_window:,}"
    return {
        "text": chart.title, "subtitle": text, "anchor": "start", "frame": "group", "fontSize": 12,
        "subtitleFontSize": 11,
    }  # fmt: skip


def _frame(theme: Theme) -> Vega:
    axis = {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED,
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
    }  # fmt: skip
    return {
        "background": "transparent",
        "padding": {"left": 12, "right": 8, "top": 4, "bottom": 4},
        "config": {
            "font": "Libertinus Serif"
            if theme == "print"
            else "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
            "axis": axis,
            "title": {"color": INK, "subtitleColor": MUTED},
            "view": {"stroke": None},
        },
    }


def _named_clips(svg: str) -> str:
    """Vega numbers its clip paths for as long as the process lives: two pictures on a page must not share a name, and
    equal pictures must be equal bytes, so they are numbered by place under a digest of the picture."""
    order = {name: i for i, name in enumerate(dict.fromkeys(_CLIP.findall(svg)))}
    bare = _CLIP.sub(lambda m: f"clip{order[m[0]]}", svg)
    prefix = "c" + hashlib.sha256(bare.encode()).hexdigest()[:10]
    return _CLIP.sub(lambda m: f"{prefix}-{order[m[0]]}", svg)


def _render(spec: Vega, theme: Theme) -> str:
    import vl_convert

    svg = _named_clips(vl_convert.vegalite_to_svg(spec, vl_version="6.4"))
    if theme == "page":
        for name, colour in COLOURS.items():
            svg = svg.replace(f'"{colour}"', f'"var({name},{colour})"')
    return svg

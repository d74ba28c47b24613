"""The timeline: one shared axis of time with a panel for each measure."""

from collections.abc import Mapping, Sequence
from typing import Final

from reports.charts.layers import (
    LEFT_PX,
    Axis,
    chart_of,
    epoch_ms,
    layered,
    rule_marks,
    specification,
    text_mark,
)
from reports.charts.palette import ALARM, MUTED, SERIES, VERSION
from reports.charts.panel import panel_chart
from reports.charts.records import Rule, Theme, Tick, Timeline, Vega
from reports.charts.thinning import thinned, thinned_rules, thinned_ticks

TICKS: Final[Mapping[str, tuple[str, str, bool, str]]] = {  # shape, colour, filled, word of the line they are drawn on
    "alert opened": ("triangle-up", ALARM, True, "alerts"),
    "alert resolved": ("circle", MUTED, False, "alerts"),
    "retrain decided": ("diamond", SERIES, True, "decisions"),
    "retrain not decided": ("diamond", MUTED, False, "decisions"),
    "run finished": ("square", SERIES, True, "runs"),
    "run refused": ("square", ALARM, False, "runs"),
}
_CHARACTER: Final = 5.8  # width of one character of a label, px


def timeline_spec(timeline: Timeline, *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a timeline."""
    domain = (epoch_ms(timeline.start), max(epoch_ms(timeline.end), epoch_ms(timeline.start) + 1))
    inner = width - LEFT_PX - 20
    axis, last = Axis(domain, inner, labelled=False), len(timeline.panels)
    rules, ticks = thinned_rules(timeline.rules, axis), thinned_ticks(timeline.ticks, axis)
    lane = _lane(rules, ticks, Axis(domain, inner, labelled=last == 0))
    panels = [
        panel_chart(thinned(p, axis), rules, Axis(domain, inner, labelled=i == last - 1))
        for i, p in enumerate(timeline.panels)
    ]
    return specification({"vconcat": [lane, *panels], "spacing": 12}, theme)


def _staggered(rules: Sequence[Rule], axis: Axis) -> list[tuple[Rule, int, bool]]:
    """Rules with the line of their label, the first on which it overlaps none before it, and whether it is left."""
    ends: list[float] = []
    placed = []
    for rule in sorted((r for r in rules if r.label and axis.holds(r.at)), key=lambda r: r.at):
        x = (epoch_ms(rule.at) - axis.domain[0]) / (axis.domain[1] - axis.domain[0]) * axis.width
        size = len(rule.label) * _CHARACTER + 10
        left = x + size > axis.width
        begin = x - size if left else x
        line = next((i for i, end in enumerate(ends) if end <= begin), len(ends))
        ends[line : line + 1] = [begin + size]
        placed.append((rule, line, left))
    return placed


def _lane(rules: Sequence[Rule], ticks: Sequence[Tick], axis: Axis) -> Vega:
    """The lane on top: what happened, as labelled rules and ticks."""
    labels = _staggered(rules, axis)
    top = 14 * (1 + max((line for _, line, _ in labels), default=-1))
    kinds = [k for k in TICKS if any(t.kind == k and axis.holds(t.at) for t in ticks)]
    words = list(dict.fromkeys(TICKS[k][3] for k in kinds))
    charts = [
        chart_of([{"at": axis.domain[0]}], "point", {"opacity": 0}, x=axis.x()),
        *rule_marks(rules, axis),
    ]
    for rule, line, left in labels:
        place = {**axis.x(), "row": {"at": epoch_ms(rule.at)}}
        colour = VERSION if rule.kind == "version" else MUTED
        style = {"align": "right" if left else "left", "dx": -5 if left else 5, "baseline": "middle", "fontSize": 11}
        charts.append(text_mark(rule.label, place, {"value": 8 + 14 * line}, color=colour, **style))
    for kind in kinds:
        shape, colour, filled, word = TICKS[kind]
        rows = [
            {"at": epoch_ms(t.at), "label": f"{kind}: {t.label}"} for t in ticks if t.kind == kind and axis.holds(t.at)
        ]
        drawn: Vega = {"shape": shape, "color": colour, "filled": filled, "size": 64, "strokeWidth": 1.6, "opacity": 1}
        y = {"value": top + 10 + 16 * words.index(word)}
        charts.append(
            chart_of(rows, "point", drawn, x=axis.x(), y=y, description={"field": "label", "type": "nominal"})
        )
    for i, word in enumerate(words):
        charts.append(
            text_mark(word, {"value": 0}, {"value": top + 10 + 16 * i}, align="right", dx=-6, color=MUTED, fontSize=11)
        )
    return layered(charts, width=axis.width, height=max(18, top + 16 * len(words) + 4))

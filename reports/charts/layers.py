"""The pieces every chart is made of: axes, layers, marks, the frame of a specification."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from reports.charts.palette import GRID, INK, MUTED, VERSION
from reports.charts.records import Rule, Theme, Vega

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
LEFT_PX: Final = 58  # room for the value axis, equal in all panels so that times line up


def specification(chart: Vega, theme: Theme) -> Vega:
    """A finished chart in its frame."""
    return {"$schema": SCHEMA, **_frame(theme), **chart}


@dataclass(frozen=True)
class Axis:
    """The time axis every panel shares."""

    domain: tuple[int, int]
    width: int
    labelled: bool

    def holds(self, at: datetime) -> bool:
        return self.domain[0] <= epoch_ms(at) <= self.domain[1]

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


def epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def chart_of(rows: Iterable[Mapping[str, Any]], mark: str, style: Vega, **encoding: Vega) -> Vega:
    """One mark for each row."""
    # A label on every point makes a page of a megabyte.
    drawn = {"type": mark, "aria": "description" in encoding, **style}
    return {"data": {"values": list(rows)}, "mark": drawn, "encoding": encoding}


def layered(charts: Sequence[Vega], **more: Any) -> Vega:
    return {"layer": list(charts), **more}


def text_mark(label: str, x: Vega, y: Vega, **style: Any) -> Vega:
    return chart_of(
        [{"label": label, **x.pop("row", {})}], "text", style, x=x, y=y, text={"field": "label", "type": "nominal"}
    )


def rule_marks(rules: Sequence[Rule], axis: Axis) -> list[Vega]:
    charts = []
    for kind, style in (
        ("baseline", {"color": MUTED, "strokeDash": [2, 3], "strokeWidth": 1.0}),
        ("version", {"color": VERSION, "strokeWidth": 1.6}),
    ):
        rows = [{"at": epoch_ms(r.at)} for r in rules if r.kind == kind and axis.holds(r.at)]
        if rows:
            charts.append(chart_of(rows, "rule", style, x=axis.x()))
    return charts


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

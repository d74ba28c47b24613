"""The chart of an alert's page: the measure over windows with its limit, alarms, and deploys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from monitor.notify.announcement import Announcement
from monitor.notify.chart import Point, in_words, marked_deploys, series
from monitor.tables import Window

LATEST: Final = datetime.max.replace(tzinfo=UTC)
SERIES, ALARM, MUTED, DEPLOY = "var(--chart-series)", "var(--chart-alarm)", "var(--chart-muted)", "var(--chart-version)"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A Vega-Lite spec, the same in words, and its points with `end` as a time."""

    spec: Mapping[str, Any]
    alt: str
    points: Sequence[Point]


def drawn(db: Session, item: Announcement, window: Window | None) -> Drawn | None:
    """What to draw; None where there are fewer than two points."""
    if window is None or item.model_id is None:
        return None
    title, points = series(db, item, window, upto=LATEST)
    seen = [p for p in points if p["value"] is not None]
    if len(seen) < 2:
        return None
    marks = marked_deploys(db, item.model_id, points)
    timed = [p | {"end": datetime.fromtimestamp(p["at"] / 1000, UTC)} for p in points]
    return Drawn(_spec(title, points, marks, window), in_words(title, points), timed)


def _spec(title: str, points: Sequence[Point], deployed: Sequence[Point], told: Window) -> dict[str, Any]:
    seen = [p for p in points if p["value"] is not None]
    hours = (points[-1]["at"] - points[0]["at"]) / 3_600_000
    axis = {"title": None, "grid": False, "tickCount": 6, "format": "%-d %b" if hours > 144 else "%-d %b %H:%M"}
    x = {"field": "at", "type": "temporal", "scale": {"type": "utc"}, "axis": axis}
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": None, "tickCount": 4}}
    band = [p for p in seen if p["low"] is not None and p["high"] is not None]
    at = [{"at": round(told.to_ts.timestamp() * 1000), "label": "this alert"}]
    value = {"field": "value", **y}
    tips = [
        {"field": "at", "type": "temporal", "title": "window ending", "format": "%Y-%m-%d %H:%M"},
        {"field": "value", "type": "quantitative", "title": "value", "format": ".3~g"},
    ]
    layers = [
        _layer(at, {"type": "rule", "color": ALARM, "strokeWidth": 1}, x=x),
        _layer(band, {"type": "area", "color": SERIES, "opacity": 0.15}, x=x, y={"field": "low", **y},
               y2={"field": "high"}),
        _layer([p for p in points if p["limit"] is not None],
               {"type": "line", "color": MUTED, "strokeDash": [4, 3], "strokeWidth": 1.2}, x=x,
               y={"field": "limit", **y}),
        _layer(seen, {"type": "line", "color": SERIES, "strokeWidth": 1.8, "point": {"size": 20, "color": SERIES}},
               x=x, y=value, tooltip=tips),
        _layer([p for p in seen if p["alarm"]],
               {"type": "point", "shape": "triangle-up", "filled": True, "size": 80, "opacity": 1, "color": ALARM},
               x=x, y=value, tooltip=tips),
        _layer(deployed, {"type": "rule", "color": DEPLOY, "strokeWidth": 1.5}, x=x),
        _layer(deployed, {"type": "text", "color": DEPLOY, "align": "left", "dx": 4, "fontSize": 12}, x=x,
               y={"value": 8}, text={"field": "label"}),
    ]  # fmt: skip
    return {
        "title": {"text": title, "anchor": "start", "fontSize": 13, "fontWeight": "normal"}, "height": 200,
        "layer": [layer for layer in layers if layer["data"]["values"]],
    }  # fmt: skip


def _layer(rows: Sequence[Mapping[str, Any]], mark: dict[str, Any], **encoding: Any) -> dict[str, Any]:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}

"""The chart of a message: the number that alarmed over the last windows, as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.figures import figure
from monitor.notify import deploys
from monitor.notify.announcement import Announcement
from monitor.tables import Measurement, Window

WINDOWS: Final = 60
DISTANCE: Final = "jensen_shannon"  # defined for every kind of column, and the same from window to window
WIDTH, HEIGHT = 560, 160
INK, MUTED, SERIES, ALARM, DEPLOY = "#202124", "#5c6066", "#0072b2", "#d55e00", "#9a4f7c"  # as the pages have them
Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, and what it shows in words, for whoever does not see it."""

    png: bytes
    alt: str


def draw(db: Session, item: Announcement) -> Picture | None:
    """The chart, or None where there is nothing to draw: no window, or fewer than two points."""
    window = db.get(Window, item.window_id) if item.window_id is not None else None
    if window is None or item.model_id is None:
        return None
    title, points = series(db, item, window)
    if len([p for p in points if p["value"] is not None]) < 2:
        return None
    import vl_convert

    drawn = _chart(title, points, marked_deploys(db, item.model_id, points))
    png: bytes = vl_convert.vegalite_to_png(drawn, vl_version="6.4", scale=2)
    return Picture(png, in_words(title, points))


def in_words(title: str, points: Sequence[Point]) -> str:
    """What a chart of at least one value shows."""
    seen = [p for p in points if p["value"] is not None]
    first, last = seen[0], seen[-1]
    alarms = sum(1 for p in seen if p["alarm"])
    end = datetime.fromtimestamp(points[-1]["at"] / 1000, UTC)
    return (
        f"{title}: {len(points)} windows to {end:%Y-%m-%d %H:%M} UTC, from {figure(first['value'])} to "
        f"{figure(last['value'])}, {alarms} {'alarm' if alarms == 1 else 'alarms'}"
    )


def marked_deploys(db: Session, model_id: UUID, points: Sequence[Point]) -> list[Point]:
    """The deploys of a model that lie in the time of some points."""
    first = min(p["at"] for p in points)
    return [{"at": _ms(d.at), "label": d.version} for d in deploys.listed(db, model_id) if _ms(d.at) >= first]


def series(db: Session, item: Announcement, window: Window, *, upto: datetime | None = None) -> tuple[str, list[Point]]:
    """What the chart shows, and a point for each of the last windows of the same length and reference.

    Args:
        window: that the announcement is about.
        upto: the last moment that is shown; without it, the end of the window.

    Returns:
        A title, and points with `at` in milliseconds, `value`, `low`, `high`, `limit` and `alarm`, oldest first.
    """
    until = upto or window.to_ts
    if item.monitor == "drift":
        column = item.column or _leading_column(db, window)
        rows = _measured(db, window, until, "drift", DISTANCE, column) if column else []
        if len([m for m in rows if m.value is not None]) > 1:
            points = [_point(m, m.value, limit=None) for m in rows]
            return f"{column}: distance from the reference", _marked(points, window)
        rows = _measured(db, window, until, "drift", "p_value", "")
        return "drift p value; dashed: alpha", [_point(m, m.value, limit=m.limit) for m in rows]
    if item.monitor in ("kpi", "estimate"):
        rows = _measured(db, window, until, "kpi", item.metric, None)
        points = [_point(m, m.value if m.value is not None else m.estimated, limit=m.limit) for m in rows]
        for point, m in zip(points, rows, strict=True):
            real = m.value is not None
            point["low"], point["high"] = (m.low, m.high) if real else (m.estimated_low, m.estimated_high)
        return f"{item.metric.replace('_', ' ')}, realised or else estimated; dashed: limit", points
    rows = _measured(db, window, until, item.monitor, item.metric, item.column)
    name = item.metric.replace("_", " ") + (f", {item.column}" if item.column else "")
    return f"{name}; dashed: limit", [_point(m, m.value, limit=m.limit) for m in rows]


def _measured(
    db: Session, window: Window, until: datetime, monitor: str, metric: str, column: str | None
) -> Sequence[Measurement]:
    query = (
        select(Measurement)
        .join(Window, Window.id == Measurement.window_id)
        .where(
            Window.baseline_id == window.baseline_id, Window.scale == window.scale, Window.to_ts <= until,
            Measurement.monitor == monitor, Measurement.metric == metric, Measurement.segment == "",
        )
        .order_by(Window.to_ts.desc())
        .limit(WINDOWS)
    )  # fmt: skip
    if column is not None:
        query = query.where(Measurement.column == column)
    return db.scalars(query).all()[::-1]


def _leading_column(db: Session, window: Window) -> str:
    query = select(Measurement).where(
        Measurement.window_id == window.id, Measurement.monitor == "drift", Measurement.metric == "effect"
    )
    named = [m for m in db.scalars(query) if m.details.get("named")]
    lead = max(named, key=lambda m: abs(m.details.get("t") or m.value or 0.0), default=None)
    return lead.column if lead is not None else ""


def _point(m: Measurement, value: float | None, *, limit: float | None) -> Point:
    return {"at": _ms(m.to_ts), "value": value, "low": None, "high": None, "limit": limit, "alarm": m.alarm}


def _marked(points: list[Point], window: Window) -> list[Point]:
    """A distance does not alarm by itself; the window of the alert does."""
    for point in points:
        point["alarm"] = point["alarm"] or point["at"] == _ms(window.to_ts)
    return points


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _chart(title: str, points: Sequence[Point], deployed: Sequence[Point]) -> dict[str, Any]:
    seen = [p for p in points if p["value"] is not None]
    hours = (max(p["at"] for p in points) - min(p["at"] for p in points)) / 3_600_000
    axis = {"title": None, "grid": False, "tickCount": 6, "format": "%-d %b" if hours > 144 else "%-d %b %H:%M"}
    x = {"field": "at", "type": "temporal", "scale": {"type": "utc"}, "axis": axis}
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": None, "tickCount": 4}}
    band = [p for p in seen if p["low"] is not None and p["high"] is not None]
    layers: list[dict[str, Any]] = [
        _layer(
            band, {"type": "area", "color": SERIES, "opacity": 0.15}, x=x, y={"field": "low", **y},
            y2={"field": "high"},
        ),
        _layer(
            [p for p in points if p["limit"] is not None],
            {"type": "line", "color": MUTED, "strokeDash": [4, 3], "strokeWidth": 1.2}, x=x, y={"field": "limit", **y},
        ),
        _layer(seen, {"type": "line", "color": SERIES, "strokeWidth": 1.8}, x=x, y={"field": "value", **y}),
        _layer(
            [p for p in seen if p["alarm"]],
            {"type": "point", "shape": "triangle-up", "filled": True, "size": 70, "opacity": 1, "color": ALARM},
            x=x, y={"field": "value", **y},
        ),
        _layer(deployed, {"type": "rule", "color": DEPLOY, "strokeWidth": 1.5}, x=x),
        _layer(
            deployed, {"type": "text", "color": DEPLOY, "align": "left", "dx": 4, "fontSize": 11}, x=x,
            y={"value": 8}, text={"field": "label"},
        ),
    ]  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json", "width": WIDTH, "height": HEIGHT,
        "background": "white", "padding": 8, "layer": [layer for layer in layers if layer["data"]["values"]],
        "title": {"text": title, "anchor": "start", "fontSize": 12, "fontWeight": "normal", "color": INK},
        "config": {"view": {"stroke": None}, "axis": {"labelColor": MUTED, "domainColor": MUTED, "tickColor": MUTED}},
    }  # fmt: skip


def _layer(rows: Sequence[Point], mark: dict[str, Any], **encoding: Any) -> dict[str, Any]:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}

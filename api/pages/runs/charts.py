"""Charts of a run: loss and memory over its steps, and champion against challenger with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reports.facts.run_gates import Difference
from reports.facts.runs import ROWS

MIB: Final = 2**20
MOST: Final = 240  # points of a curve, as many as a memory curve has; of more, the mean of equal stretches
ROW: Final = 34  # px of one compared metric


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a training. Points are (step, value); a loss that is not finite is left out and counted."""

    loss: tuple[tuple[float, float], ...]
    memory: tuple[tuple[float, float], ...]  # MiB of the process
    card: tuple[tuple[float, float], ...]  # MiB of the accelerator
    not_finite: int
    live: bool
    stretch: int = 1  # steps that one point of the loss is the mean of

    @property
    def shown(self) -> bool:
        return len(self.loss) > 1 or len(self.memory) > 1


def course_of(metrics: Mapping[str, Any] | None, progress: Mapping[str, Any] | None) -> Course:
    """From the record of an ended training, or from what a running one has told so far."""
    found = metrics or {}
    losses = found.get("loss")
    if isinstance(losses, list) and losses:
        points = [(i + 1, value) for i, value in enumerate(losses)]
        held = [p for p in found.get("memory") or () if isinstance(p, Mapping)]
        memory = [(p.get("step"), p.get("bytes")) for p in held]
        card = [(p.get("step"), p.get("card_bytes")) for p in held]
        live = False
    else:
        series = [p for p in (progress or {}).get("series") or () if isinstance(p, list) and len(p) == 3]
        points, memory = [(p[0], p[1]) for p in series], [(p[0], p[2]) for p in series]
        card, live = [], True
        if not series:
            held = [p for p in found.get("memory") or () if isinstance(p, Mapping)]
            memory = [(p.get("step"), p.get("bytes")) for p in held]
    finite = _finite(points)
    return Course(
        _thin(finite), _thin(_mebibytes(memory)), _thin(_mebibytes(card)),
        sum(1 for _, value in points if value is not None) - len(finite), live, _stretch(finite),
    )  # fmt: skip


def course_spec(course: Course) -> dict[str, Any]:
    """Loss and memory under each other, on one axis of steps."""
    parts = []
    x = {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickMinStep": 1}}
    if len(course.loss) > 1:
        parts.append(_line(course.loss, x, "loss", "var(--chart-series)", 150, zero=False))
    for points, title, colour in (
        (course.memory, "memory, MiB", "var(--chart-second)"),
        (course.card, "card, MiB", "var(--chart-version)"),
    ):
        if len(points) > 1:
            parts.append(_line(points, x, title, colour, 110, zero=True))
    return {"vconcat": parts, "spacing": 12, "resolve": {"scale": {"x": "shared"}}}


def height_of(course: Course) -> int:
    """The reserved height, one that the frame knows."""
    wanted = sum(60 + tall for tall, there in (
        (150, len(course.loss) > 1), (110, len(course.memory) > 1), (110, len(course.card) > 1)) if there)  # fmt: skip
    return next((h for h in (200, 240, 320, 400, 480, 640) if h >= wanted), 640)


def _line(
    points: Sequence[tuple[float, float]], x: Mapping[str, Any], title: str, colour: str, height: int, *, zero: bool
) -> dict[str, Any]:
    y = {"field": "value", "type": "quantitative", "title": title, "scale": {"zero": zero}, "axis": {"tickCount": 4}}
    tooltip = [{"field": "step", "type": "quantitative"},
               {"field": "value", "type": "quantitative", "title": title, "format": ",.4~g"}]  # fmt: skip
    return {
        "height": height, "data": {"values": [{"step": step, "value": value} for step, value in points]},
        "mark": {"type": "line", "color": colour, "strokeWidth": 1.5,
                 "point": {"color": colour, "size": 16} if len(points) < 40 else False},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }  # fmt: skip


def difference_spec(found: Sequence[Difference]) -> dict[str, Any]:
    """Challenger minus champion by metric, each on its own scale, with 95 % intervals, no change, and the margin."""
    parts = []
    for one in found:
        name = f"{one.metric}, {ROWS.get(one.rows, one.rows)}"
        ends = [one.low, one.high, 0.0, *([-one.margin] if one.margin is not None else [])]
        pad = (max(ends) - min(ends)) * 0.06 or 0.01
        scale = {"domain": [min(ends) - pad, max(ends) + pad], "nice": False}
        x = {"field": "value", "type": "quantitative", "title": None, "scale": scale, "axis": {"tickCount": 5}}
        y = {"field": "name", "type": "nominal", "title": None, "axis": None}
        row = {"name": name, "value": one.value, "low": one.low, "high": one.high}
        layers: list[dict[str, Any]] = [
            {"data": {"values": [{"value": 0}]}, "mark": {"type": "rule", "color": "var(--chart-muted)"},
             "encoding": {"x": x}},
            {"data": {"values": [row]}, "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--chart-series)"},
             "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y}},
            {"data": {"values": [row]}, "mark": {"type": "point", "filled": True, "size": 60,
                                                 "color": "var(--chart-series)"},
             "encoding": {"x": x, "y": y}},
        ]  # fmt: skip
        if one.margin is not None:
            layers.insert(1, {
                "data": {"values": [{"value": -one.margin}]},
                "mark": {"type": "rule", "color": "var(--chart-alarm)", "strokeDash": [4, 3]}, "encoding": {"x": x},
            })  # fmt: skip
        parts.append({"height": ROW, "title": name, "layer": layers})
    return {"vconcat": parts, "spacing": 10}


def difference_height(count: int) -> int:
    wanted = count * (ROW + 58)
    return next((h for h in (120, 160, 200, 240, 320, 400, 480, 640, 800) if h >= wanted), 800)


def _mebibytes(points: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
    return [(step, value / MIB) for step, value in _finite(points)]


def _finite(points: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
    return [
        (float(step), float(value))
        for step, value in points
        if all(isinstance(one, int | float) and math.isfinite(one) for one in (step, value))
    ]


def _thin(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Of many points the mean of equal stretches, at the last step of each."""
    stretch = _stretch(points)
    parts = [points[i : i + stretch] for i in range(0, len(points), stretch)]
    return tuple((part[-1][0], float(f"{sum(v for _, v in part) / len(part):.6g}")) for part in parts)


def _stretch(points: Sequence[tuple[float, float]]) -> int:
    return math.ceil(len(points) / MOST) or 1

"""Fewer marks than windows: what lies within a few pixels cannot be told apart, and makes a picture of megabytes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from reports.charts.layers import Axis, epoch_ms
from reports.charts.records import Panel, Point, Rule, Tick

COLUMN_PX: Final = 3  # windows that end within one column share its marks
LABELLED: Final = 12  # rules with a word beside them, the newest


def column_of(at: int, axis: Axis) -> int:
    """The column of pixels of a time, ms."""
    return int((at - axis.domain[0]) * axis.width / (axis.domain[1] - axis.domain[0]) / COLUMN_PX)


def thinned(panel: Panel, axis: Axis) -> Panel:
    """A panel of at most four marks for each column: its lowest and highest value, an alarm, and one not measured.

    Bars become one for each column, the highest. A panel with fewer points than columns stays as it is. The title
    says what was done.
    """
    if len(panel.points) * COLUMN_PX <= 4 * axis.width:
        return panel
    found: list[Point] = []
    last: Point | None = None  # of all points, drawn or not
    for _, group in groupby(panel.points, lambda p: column_of(epoch_ms(p.at), axis)):
        rows = list(group)
        begin = rows[0].start
        if last is not None and begin - last.at <= (last.at - last.start) / 2:
            begin = found[-1].at  # no window lacks between two that are drawn
        for point in _highest(rows) if panel.kind == "bars" else _extremes(rows):
            found.append(replace(point, start=min(point.start, begin)))
            begin = point.at
        last = rows[-1]
    return replace(panel, title=f"{panel.title} (the extremes of {len(panel.points):,} windows)", points=tuple(found))


def _measured(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if p.value is not None and p.value == p.value]


def _highest(points: Sequence[Point]) -> Iterator[Point]:
    yield replace(max(_measured(points), key=lambda p: p.value or 0.0, default=points[0]), at=points[-1].at)


def _extremes(points: Sequence[Point]) -> Iterator[Point]:
    measured = _measured(points)
    kept: list[Point] = []
    if measured:
        kept += (min(measured, key=lambda p: p.value or 0.0), max(measured, key=lambda p: p.value or 0.0))
    kept += [next((p for p in points if p.status == "alarm"), points[0])] if _lacks_alarm(points, kept) else []
    kept += [p for p in points if p.value is None][:1]
    chosen = {id(p) for p in kept}
    return (p for p in points if id(p) in chosen)


def _lacks_alarm(points: Sequence[Point], kept: Sequence[Point]) -> bool:
    return any(p.status == "alarm" for p in points) and all(p.status != "alarm" for p in kept)


def thinned_rules(rules: Sequence[Rule], axis: Axis) -> tuple[Rule, ...]:
    """One rule of each kind for each column; of more than `LABELLED`, the older lose their word."""
    if len(rules) <= LABELLED:
        return tuple(rules)
    newest = {(r.kind, column_of(epoch_ms(r.at), axis)): r for r in sorted(rules, key=lambda r: r.at)}
    kept = sorted(newest.values(), key=lambda r: r.at)
    old = len(kept) - LABELLED
    return tuple(replace(r, label="") if i < old else r for i, r in enumerate(kept))


def thinned_ticks(ticks: Sequence[Tick], axis: Axis) -> tuple[Tick, ...]:
    """One tick of each kind for each column, which says how many it stands for."""
    if len(ticks) * COLUMN_PX <= axis.width:
        return tuple(ticks)
    found: dict[tuple[str, int], list[Tick]] = {}
    for tick in ticks:
        found.setdefault((tick.kind, column_of(epoch_ms(tick.at), axis)), []).append(tick)
    return tuple(
        many[0] if len(many) == 1 else replace(many[0], label=f"{many[0].label}, and {len(many) - 1:,} more")
        for many in found.values()
    )

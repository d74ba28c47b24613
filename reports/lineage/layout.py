"""Where the nodes of a lineage stand in a picture: lanes from left to right, a block of rows for each run. Pure.

The lanes are the way things are made: sources, the sets that a run chose, the run, its version, and what was made of
that. Sets, run and version of one run stand beside each other; the newest run is on top.
"""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LANES: Final = ("sources", "sets", "run", "version", "made of it")
WIDTH: Final = 172  # px of a node
HEIGHT: Final = 40
GAP: Final = 12  # px between two nodes of a lane
BETWEEN: Final = 48  # px between two lanes
TOP: Final = 28  # px for the names of the lanes


@dataclass(frozen=True, slots=True)
class Box:
    """A node to be placed. `block` names the run that it belongs to, empty where it belongs to none."""

    key: str
    lane: int
    block: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Upper left corners by key, and the size of the picture in px."""

    places: Mapping[str, Placed]
    width: int
    height: int


def laid_out(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place boxes, given in the order in which their blocks go from top to bottom.

    Args:
        edges: (source, made from it); those of unknown keys are left out.
    """
    step = HEIGHT + GAP
    blocks: dict[str, list[Box]] = {}
    for box in boxes:
        if box.block:
            blocks.setdefault(box.block, []).append(box)
    middles: dict[str, float] = {}
    top = float(TOP)
    for members in blocks.values():
        lanes: dict[int, list[Box]] = {}
        for box in members:
            lanes.setdefault(box.lane, []).append(box)
        tall = max(len(found) for found in lanes.values()) * step
        for found in lanes.values():
            first = top + (tall - len(found) * step) / 2
            middles |= {box.key: first + i * step for i, box in enumerate(found)}
        top += tall
    beside: dict[str, list[str]] = {}
    for source, made in edges:
        beside.setdefault(source, []).append(made)
        beside.setdefault(made, []).append(source)
    for lane in range(len(LANES)):
        here = [box for box in boxes if box.lane == lane]
        taken = sorted(middles[box.key] for box in here if box.block)
        _stack([box for box in here if not box.block], taken, middles, beside, step)
    places = {box.key: Placed(box.lane * (WIDTH + BETWEEN), middles[box.key]) for box in boxes}
    bottom = max((place.y for place in places.values()), default=0.0) + HEIGHT
    return Layout(places, len(LANES) * WIDTH + (len(LANES) - 1) * BETWEEN, round(bottom + GAP))


def _stack(
    boxes: Sequence[Box], taken: list[float], middles: dict[str, float], beside: Mapping[str, Sequence[str]],
    step: float,
) -> None:  # fmt: skip
    """Place boxes that belong to no run near those that they are joined with, where nothing stands yet."""
    wanted = []
    for i, box in enumerate(boxes):
        near = [middles[key] for key in beside.get(box.key, ()) if key in middles]
        wanted.append((sum(near) / len(near) if near else float(TOP), i, box))
    for at, _, box in sorted(wanted, key=lambda one: one[:2]):
        y = max(float(TOP), at)
        for other in taken:  # in order, so that a place found below one is compared with those below it
            if abs(y - other) < step:
                y = other + step
        middles[box.key] = y
        insort(taken, y)


def path_of(source: Placed, made: Placed) -> str:
    """The line from a source to what was made from it: curved, and around where it goes back a lane."""
    half = HEIGHT / 2
    if made.x > source.x:
        x1, y1, x2, y2 = source.x + WIDTH, source.y + half, made.x, made.y + half
        bend = (x2 - x1) / 2
        return f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    below = made.y > source.y
    x1, y1 = source.x + WIDTH / 2, source.y + (HEIGHT if below else 0)
    x2, y2 = made.x + WIDTH, made.y + half
    return f"M{x1:g} {y1:g}C{x1:g} {y2:g} {x2 + BETWEEN / 2:g} {y2:g} {x2:g} {y2:g}"

"""The order in which groups are told: bands from the lowest, names that hold numbers by them, what is missing last."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from monitor.fairness.cells import GroupCells
from monitor.fairness.grouping import MISSING, band_names

NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
BELOW: Final = re.compile(r"<|\b(?:under|below|less|younger|up to)\b", re.IGNORECASE)
ABOVE: Final = re.compile(r">|\+|\b(?:over|above|more|greater|older)\b", re.IGNORECASE)


def in_order(cells: GroupCells, edges: Mapping[str, Sequence[float]]) -> GroupCells:
    """The groups in the order that people read them in.

    Args:
        cells: of groups in any order.
        edges: of each protected column that is cut into bands, where they end.
    """
    places = [
        places_of({levels[at] for levels in cells.levels}, edges.get(column)) for at, column in enumerate(cells.by)
    ]
    order = sorted(
        range(len(cells.levels)),
        key=lambda i: tuple(place[level] for place, level in zip(places, cells.levels[i], strict=True)),
    )
    return cells.take(order)


def places_of(levels: set[str], edges: Sequence[float] | None = None) -> dict[str, int]:
    """The place of each level of one column.

    Without edges, levels that all hold a number, such as `Less than 25`, `25 - 45`, `5+`, go by their first number;
    other levels by the alphabet.
    """
    known = sorted(levels - {MISSING})
    bands = {} if edges is None else {name: at for at, name in enumerate(band_names(edges))}
    if known and bands.keys() >= set(known):
        known.sort(key=bands.__getitem__)
    elif all(NUMBER.search(level) for level in known):
        known.sort(key=_by_number)
    return {level: at for at, level in enumerate([*known, MISSING])}


def _by_number(level: str) -> tuple[float, int, str]:
    number = NUMBER.search(level)
    side = -1 if BELOW.search(level) else 1 if ABOVE.search(level) else 0
    return float(number[0]) if number else 0.0, side, level

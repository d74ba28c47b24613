"""A sample of what the champion was trained on, trained again so that it is not forgotten. Pure."""

import hashlib

import polars as pl

from core.errors import InvalidError


def rehearsal_rows(frame: pl.DataFrame, size: int, seed: int) -> pl.DataFrame:
    """A seeded sample stratified by label, in the order of the frame.

    Each label gets its proportional share, rounded by largest remainders, and at least one row while there is room.

    Args:
        frame: rows with columns `row_id` (unique) and `label`.
        size: rows wanted, >= 0; the whole frame when it has fewer.
    """
    if size < 0:
        raise InvalidError(f"size is {size}; give a number of rows, 0 or more", size=size)
    if size >= frame.height:
        return frame
    quota = allocate(dict(frame.group_by("label").len().iter_rows()), size)
    order = [hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest() for row in frame["row_id"]]
    taken: dict[str, int] = {}
    chosen = []
    labels = frame["label"].to_list()
    for i in sorted(range(frame.height), key=order.__getitem__):
        if taken.get(labels[i], 0) < quota[labels[i]]:
            taken[labels[i]] = taken.get(labels[i], 0) + 1
            chosen.append(i)
    return frame[sorted(chosen)]


def allocate(counts: dict[str, int], size: int) -> dict[str, int]:
    """Rows for each label, summing to min(size, all rows): proportional, largest remainders first."""
    total = sum(counts.values())
    size = min(size, total)
    if total == 0:
        return {}
    floors = {name: count * size // total for name, count in counts.items()}
    short = sorted(counts, key=lambda name: (floors[name] > 0, -(counts[name] * size % total), name))
    for name in short[: size - sum(floors.values())]:
        floors[name] += 1
    return floors

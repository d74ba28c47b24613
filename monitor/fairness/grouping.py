"""Grouping, once for every fairness metric: which groups the values of protected columns form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from core.errors import InvalidError
from monitor.levels import as_levels

MIN_GROUP: Final = 30  # rows
MISSING: Final = "(missing)"
MAX_NAME: Final = 128  # characters of what a value is stored under


@dataclass(frozen=True)
class Grouping:
    """The protected columns of a model, and how each is cut into groups.

    Attributes:
        columns: names of the protected columns, in declared order.
        edges: by numeric column: where one group ends and the next begins, ascending.
    """

    columns: tuple[str, ...]
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def banded(values: pl.Series, edges: Sequence[float]) -> pl.Series:
    """The band of each number: `under 18`, `18 to under 25`, `40 and over`; null where there is no number.

    Args:
        values: a column of any type, shape (rows,); texts that are numbers count as numbers.
        edges: where one band ends and the next begins, ascending, at least one.

    Returns:
        Bands as texts, shape (rows,).

    Raises:
        InvalidError: the edges are empty or do not ascend.

    Source: half-open intervals [edge, next edge).
    """
    if not edges or any(a >= b for a, b in pairwise(edges)):
        raise InvalidError(f"edges are {list(edges)}; give ascending numbers", edges=list(edges))
    numbers = values.cast(pl.Float64, strict=False).fill_nan(None)
    at = pl.Series(np.searchsorted(np.asarray(edges), numbers.fill_null(0.0).to_numpy(), side="right"))
    return pl.Series(band_names(edges), dtype=pl.String).gather(at).set(numbers.is_null(), None)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """The name of each band, from the lowest."""
    told = [f"{edge:g}" for edge in edges]
    between = [f"{a} to under {b}" for a, b in pairwise(told)]
    return (f"under {told[0]}", *between, f"{told[-1]} and over")


def named_groups(values: pl.Series) -> pl.Series:
    """The group of each value of a protected column: its level, or `(missing)` for None, NaN and a blank text."""
    if values.dtype.is_float():
        values = values.replace([float("inf"), float("-inf")], None)
    return as_levels(values).fill_null(MISSING)


def group_name(by: Sequence[str], levels: Sequence[str]) -> str:
    """How a group is told: the level of one column; `sex=F & race=Black` for an intersection."""
    if len(by) == 1:
        return levels[0]
    return " & ".join(f"{column}={level}" for column, level in zip(by, levels, strict=True))


def grouped_by(by: Sequence[str]) -> str:
    """How the columns of an intersection are told: `sex & race`; cut if long, with a digest that keeps it apart."""
    whole = " & ".join(by)
    return whole if len(whole) <= MAX_NAME else f"{whole[: MAX_NAME - 18]}… {sha256(whole.encode()).hexdigest()[:16]}"

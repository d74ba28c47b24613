"""Columns as factors: each row has one of a few levels, so that groups can be compared within a level."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Ints
from monitor.fairness.causes.groups import FEWEST
from monitor.fairness.grouping import MISSING
from monitor.levels import as_levels

BINS: Final = 5
MOST_LEVELS: Final = 20
OTHER: Final = "(other levels)"
WORDS: Final = "{} (words)"


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A column, or several together, as levels.

    Attributes:
        codes: index of each row's level, shape (rows,).
    """

    name: str
    levels: tuple[str, ...]
    codes: Ints


def factor(values: pl.Series, *, bins: int = BINS) -> Factor:
    """A column as levels.

    Args:
        values: shape (rows,). Numbers are cut at their quantiles into `bins` levels, or have a level each where they
            take no more than so many values. Of categories the 20 most frequent with at least 5 rows have a level of
            their own.
        bins: levels of a number, at least 2.

    Returns:
        Levels in order; rows without a value have the level "(missing)", NaN included.
    """
    if values.dtype.is_numeric():
        return _number(values.cast(pl.Float64).fill_nan(None), bins)
    return _category(values)


def words(values: pl.Series) -> Factor:
    """A text column as levels of its length in words, shape (rows,)."""
    counted = values.cast(pl.String).str.count_matches(r"\S+").cast(pl.Float64)
    found = factor(counted.alias(values.name))
    return Factor(WORDS.format(values.name), found.levels, found.codes)


def product(factors: Sequence[Factor]) -> Factor:
    """Several factors as one, whose levels are the combinations that occur, shape (rows,)."""
    if len(factors) == 1:
        return factors[0]
    stacked = np.stack([f.codes for f in factors], axis=1)
    found, codes = np.unique(stacked, axis=0, return_inverse=True)
    levels = tuple(", ".join(f"{f.name} {f.levels[c]}" for f, c in zip(factors, row, strict=True)) for row in found)
    return Factor(", ".join(f.name for f in factors), levels, codes.ravel().astype(np.int64))


def _number(values: pl.Series, bins: int) -> Factor:
    known = np.sort(values.drop_nulls().to_numpy())
    distinct = np.unique(known)
    given = values.to_numpy()
    if len(distinct) <= bins:
        names = [_written(v) for v in distinct]
        codes = np.searchsorted(distinct, given)
    else:  # edges are values of rows, so that no quantile of infinite numbers is undefined
        at = [int(np.ceil(len(known) * i / bins)) - 1 for i in range(1, bins)]
        edges = np.unique(known[at])
        edges = edges[edges < known[-1]]
        codes = np.searchsorted(edges, given)
        ends = [_written(e) for e in edges]
        names = [f"up to {ends[0]}", *(f"above {a} to {b}" for a, b in pairwise(ends)),
                 f"above {ends[-1]}"] if ends else ["any"]  # fmt: skip
    empty = values.is_null().to_numpy()
    if empty.any():
        codes = np.where(empty, len(names), codes)
        names = [*names, MISSING]
    return Factor(values.name, tuple(names), codes.astype(np.int64))


def _category(values: pl.Series) -> Factor:
    found = as_levels(values).fill_null(MISSING)
    counts = sorted(found.value_counts().iter_rows(), key=lambda pair: (-pair[1], pair[0]))
    kept = sorted(str(name) for name, n in counts[:MOST_LEVELS] if n >= FEWEST)
    rest = len(counts) > len(kept)
    codes = found.replace_strict(kept, list(range(len(kept))), default=len(kept), return_dtype=pl.Int64)
    return Factor(values.name, (*kept, OTHER) if rest else tuple(kept), codes.to_numpy().astype(np.int64))


def _written(number: float) -> str:
    return f"{number:.6g}"

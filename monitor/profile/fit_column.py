"""The bins or levels of one column, fitted on its values in the reference."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats, Ints
from monitor.profile.coding import NULL_CODE, CategoryLevels, NumberBins, distinct_levels

MAX_BINS: Final = 256
MAX_DERIVED_BINS: Final = 64
TESTED_EDGES: Final = 31
MAX_LEVELS: Final = 30
MAX_CLUSTER_LEVELS: Final = 48
MAX_SAMPLED_ROWS: Final = 50_000
MIN_LEVEL_ROWS: Final = 10  # a level with no more rows than this has no share of its own
MAX_DICTIONARY_LEVELS: Final = 65_536

_ALL_TESTS: Final = ("location", "spread", "below", "missing")
# Few statistics of a text are tested, because each additional one costs the others power. A new kind of request shows
# first in the upper quantiles of unknown words and of distance. Nulls are counted once, with the length.
_TEXT_GRID: Final[Mapping[str, tuple[float, ...]]] = {"oov": (0.5, 0.75, 0.9), "distance": (0.5, 0.75, 0.9)}
_TEXT_TESTS: Final[Mapping[str, tuple[str, ...]]] = {
    "oov": ("location", "below"),
    "distance": ("location", "below"),
    "length": ("location", "spread", "missing"),
}
_VECTOR_TESTS: Final[Mapping[str, tuple[str, ...]]] = {"distance": ("location", "below", "missing")}


def number_bins(values: Floats, seed: int) -> NumberBins:
    """Fit the bins of a number.

    Args:
        values: of the reference, shape (rows,); nan where missing.
        seed: of the sample, which is taken of many rows.

    Returns:
        At most 256 bins at the quantiles of the values; few distinct values have a bin each.
    """
    x, smallest = _sorted(values, seed)
    edges = _edges(x, MAX_BINS)
    quantiles = np.arange(1, TESTED_EDGES + 1) / (TESTED_EDGES + 1)
    return NumberBins(edges, _grid(x, edges, quantiles, smallest), _ALL_TESTS)


def derived_bins(values: Floats, derived: str, seed: int, *, of_text: bool) -> NumberBins:
    """Fit the bins of a number derived from a text or vector.

    Args:
        values: of the reference, shape (rows,); nan where missing.
        derived: what the number is, such as `distance`; it decides which statistics are tested.
        seed: of the sample, which is taken of many rows.
        of_text: whether it is derived from a text, else from a vector.
    """
    x, smallest = _sorted(values, seed)
    edges = _edges(x, MAX_DERIVED_BINS)
    grid = _grid(x, edges, np.array(_TEXT_GRID.get(derived, ())), smallest)
    tests = _TEXT_TESTS if of_text else _VECTOR_TESTS
    return NumberBins(edges, grid, tests.get(derived, ("location",)))


def _sorted(values: Floats, seed: int) -> tuple[Floats, float]:
    """Values in ascending order, and the share of rows that have the smallest value.

    Many rows are sampled: edges need not be exact quantiles, because shares are counted over all rows. The sample
    always has the smallest and the largest value. Where the distinct values are few, all rows are used.
    """
    if len(values) > MAX_SAMPLED_ROWS:
        chosen = values[np.random.default_rng(seed).integers(0, len(values), MAX_SAMPLED_ROWS)]
        x = np.sort(chosen[np.isfinite(chosen)])
        if 2 * np.count_nonzero(x[1:] > x[:-1]) + 3 > MAX_BINS:
            low, high = values.min(), values.max()
            if np.isnan(low):  # functions that ignore nan are much slower, so they run only where needed
                low, high = np.fmin.reduce(values), np.fmax.reduce(values)
            return np.concatenate([[low], x, [high]]), np.count_nonzero(values == low) / len(values)
    x = np.sort(values[np.isfinite(values)])
    return x, float(np.mean(x == x[0])) if len(x) else 0.0


def _edges(x: Floats, most: int) -> Floats:
    """Edges at quantiles. With few distinct values, each value has its own bin, and so has each gap between them."""
    if not len(x):
        return np.zeros(0)
    distinct = x[np.concatenate([[True], x[1:] > x[:-1]])]  # differences of huge values would overflow
    if 2 * len(distinct) + 1 <= most:
        return np.unique(np.concatenate([np.nextafter(distinct, -np.inf), distinct]))
    # Fewer quantiles than bins, because the two open bins and the bin of the minimum are added.
    cuts = _quantiles(x, np.linspace(0.0, 1.0, most - 2))
    return np.unique(np.concatenate([[np.nextafter(x[0], -np.inf)], cuts]))


def _quantiles(x: Floats, shares: Floats) -> Floats:
    """The smallest values that at least these shares of the sorted values do not exceed (numpy's `inverted_cdf`)."""
    at = np.clip(np.ceil(shares * len(x) - 1e-9).astype(np.int64) - 1, 0, len(x) - 1)
    return x[at]


def _grid(x: Floats, edges: Floats, quantiles: Floats, smallest: float) -> tuple[int, ...]:
    """Indices of the edges at the quantiles, at which the distribution function is tested.

    Where the smallest value is common, the edge below it is tested too, which detects a value smaller than a constant.
    Where the smallest value is rare, that edge is not tested: by construction no row of the reference lies below its
    own minimum, but some rows of any window do.
    """
    if not len(x) or not len(quantiles):
        return ()
    at = {int(i) for i in np.searchsorted(edges, _quantiles(x, quantiles), side="left")}
    if smallest >= 1 / (TESTED_EDGES + 1):
        at.add(0)
    return tuple(sorted(at))


def category_levels(values: pl.Series, folds: Ints, most: int) -> tuple[CategoryLevels, Ints, Sequence[str]]:
    """Fit the levels of a category, and code the reference's own values by them.

    Args:
        values: of the reference, shape (rows,).
        folds: fold of each row's block, shape (rows,), integers >= 0.
        most: how many of the most frequent levels are kept.

    Returns:
        The levels; the code of each value, shape (rows,); and the names of the codes after the dictionary. For codes
        see `CodedColumns`.
    """
    number = int(folds.max()) + 1
    at, names = distinct_levels(values)
    every = sorted(names)
    code = {level: i for i, level in enumerate(every)}
    numbered = np.array([*(code[name] for name in names), len(every)], dtype=np.int64)
    cells = (numbered * number)[at]
    cells += folds
    counts = np.bincount(cells, minlength=(len(every) + 1) * number).reshape(-1, number)[:-1].astype(np.int64)
    numbered[-1] = NULL_CODE
    codes = numbered[at]
    levels, new = every, list[str]()
    if len(levels) > MAX_DICTIONARY_LEVELS:
        # A level's hash decides whether it stays, not its count: a choice by count would favour the reference.
        order = sorted(range(len(levels)), key=lambda i: hashlib.blake2b(levels[i].encode(), digest_size=8).digest())
        place = np.concatenate([sorted(order[:MAX_DICTIONARY_LEVELS]), sorted(order[MAX_DICTIONARY_LEVELS:])])
        moved = np.empty(len(levels), dtype=np.int64)
        moved[place] = np.arange(len(levels))
        present = codes >= 0
        codes[present] = moved[codes[present]]
        named = [levels[i] for i in place]
        levels, new, counts = (
            named[:MAX_DICTIONARY_LEVELS],
            named[MAX_DICTIONARY_LEVELS:],
            counts[place[:MAX_DICTIONARY_LEVELS]],
        )
    kept = tuple(levels[i] for i in _most_frequent(counts.sum(axis=1), most, MIN_LEVEL_ROWS))
    return levels_of(kept, tuple(levels), counts, most), codes, new


def _most_frequent(counts: Ints, most: int, minimum: float) -> list[int]:
    order = np.argsort(-counts, kind="stable")[:most]
    return [int(i) for i in order if counts[i] > minimum]


def levels_of(kept: tuple[str, ...], levels: tuple[str, ...], counts: Ints, most: int) -> CategoryLevels:
    """The levels of a category, with the lists that leave out each fold; see `CategoryLevels`."""
    folds = counts.shape[1]
    listed = np.zeros(counts.shape, dtype=bool)
    known = np.zeros(counts.shape, dtype=bool)
    for fold in range(folds):
        without = counts.sum(axis=1) - counts[:, fold]
        known[:, fold] = without > 0
        listed[_most_frequent(without, most, MIN_LEVEL_ROWS * (1 - 1 / folds)), fold] = True
    return CategoryLevels(kept, levels, counts, most, listed, known)

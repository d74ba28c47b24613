"""Every statistic of the catalogue for every column of a window, reported with the decision; none of them decides."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.base import Counts, Method
from monitor.drift.texts import Mean, TextMethod
from monitor.profile.block import BlockProfile
from monitor.profile.coding import NumberBins
from monitor.profile.counting import CategoryCounts, NumberCounts
from monitor.profile.reference_profile import ReferenceProfile

COARSE_BINS: Final = 10


@dataclass(frozen=True)
class Score:
    """One statistic of one column; `value` is None with a `reason` if it is undefined.

    `expected` is the mean of the statistic without drift, if known.
    """

    method: str
    column: str
    value: float | None
    reason: str | None
    unit: str
    n_reference: int
    n_current: int
    expected: float | None = None


def score_window(
    baseline: ReferenceProfile, window: BlockProfile, methods: Iterable[Method], text_methods: Iterable[TextMethod]
) -> list[Score]:
    """Every statistic for every column.

    Args:
        baseline: the fitted reference, with its counts.
        window: counts of the window on the same bins.
        methods: statistics of a column's counts.
        text_methods: statistics of a text column.

    Returns:
        One score per column and statistic. A statistic that does not apply is None with a reason.

    Source: the docstring of each statistic.
    """
    reference = baseline.total
    scores: list[Score] = []
    chosen = list(methods)
    for name, bins in baseline.coding.numbers.items():
        fine = _ordered(bins, reference.numbers[name], window.numbers[name])
        coarse = _coarse(*fine)
        scores += [_score(method, name, *(fine if method.input == "ordered" else coarse)) for method in chosen]
    for name in baseline.coding.categories:
        sides = (
            _levels(reference.rows, reference.categories[name]),
            _levels(window.rows, window.categories[name]),
        )
        scores += [
            _score(method, name, *sides) if method.input == "binned" else _unordered(method, name, *sides)
            for method in chosen
        ]
    texts = list(baseline.coding.texts) or [""]
    return scores + [_of_text(method, name, reference, window) for name in texts for method in text_methods]


def _unordered(method: Method, column: str, reference: Counts, current: Counts) -> Score:
    reason = "categories have no order, which this statistic needs"
    return Score(method.name, column, None, reason, method.unit, reference.n, current.n)


def _of_text(method: TextMethod, column: str, reference: BlockProfile, window: BlockProfile) -> Score:
    if not column:
        return Score(method.name, "", None, "no text column is watched", method.unit, reference.rows, window.rows)
    before, now = (_mean(side.numbers[f"{column}.{method.derived}"]) for side in (reference, window))
    try:
        expected = method.compute(before) if before.n else None
        return Score(method.name, column, method.compute(now), None, method.unit, before.n, now.n, expected)
    except InsufficientDataError as error:
        return Score(method.name, column, None, error.message, method.unit, before.n, now.n)


def _mean(counts: NumberCounts) -> Mean:
    return Mean(int(counts.counts.sum()), counts.total)


def _score(method: Method, column: str, reference: Counts, current: Counts) -> Score:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            value = method.compute(reference, current)
        expected = method.expected(reference, current) if method.expected else None
    except InsufficientDataError as error:
        return Score(method.name, column, None, error.message, method.unit, reference.n, current.n)
    if not np.isfinite(value):
        reason = "values are too large for a double to hold this statistic of them"
        return Score(method.name, column, None, reason, method.unit, reference.n, current.n)
    return Score(method.name, column, value, None, method.unit, reference.n, current.n, expected)


def _ordered(bins: NumberBins, reference: NumberCounts, current: NumberCounts) -> tuple[Counts, Counts]:
    positions = _positions(bins.edges, reference, current)
    std = math.sqrt(reference.variance) or None
    return Counts(reference.counts, positions, std), Counts(current.counts, positions, std)


def _positions(edges: Floats, reference: NumberCounts, current: NumberCounts) -> Floats:
    """The middle of each bin; for the two open bins, the smallest and the largest value of both sides."""
    if not len(edges):
        return np.zeros(1)
    lows = [x for x in (reference.minimum, current.minimum) if x is not None]
    highs = [x for x in (reference.maximum, current.maximum) if x is not None]
    low, high = min([edges[0], *lows]), max([edges[-1], *highs])
    return np.concatenate([[low], edges[:-1] / 2.0 + edges[1:] / 2.0, [high]])


def _coarse(reference: Counts, current: Counts) -> tuple[Counts, Counts]:
    """Merge bins into about ten of equal reference share; the bins outside the reference's range join a neighbour."""
    before = np.cumsum(reference.counts) - reference.counts
    group = np.minimum(COARSE_BINS * before // max(reference.n, 1), COARSE_BINS - 1)
    _, merged = np.unique(group, return_inverse=True)
    size = int(merged.max()) + 1

    def grouped(counts: Counts) -> Counts:
        return Counts(np.bincount(merged, weights=counts.counts, minlength=size).astype(np.int64))

    return grouped(reference), grouped(current)


def _levels(rows: int, counts: CategoryCounts) -> Counts:
    """Rows of each kept level, of all other levels together, and without a value."""
    rest = rows - int(counts.levels.sum()) - counts.nulls
    return Counts(np.concatenate([counts.levels, [rest, counts.nulls]]).astype(np.int64))

"""Variance ratios, which say whether the blocks of a reference are serially dependent.

They are computed once per reference, before any window is judged by its blocks. If blocks are exchangeable, the sum of
m neighbours has m times the variance of one block. In a serially dependent series it has more: the variance ratio
Var(sum of m neighbours) / (m Var(block)) lies above 1. The same ratio over random orders of the reference's own blocks
shows how far above 1 it lies by chance.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints

DEPENDENCE_PERMUTATIONS: Final = 99
MAX_P_DEPENDENT: Final = 0.10
MAX_MEDIAN_RATIO: Final = 1.3
# Where a reference as a whole is serially dependent, windows of several blocks judge only those of its columns that
# show no sign of dependence. A limit of 0.1 would pass columns whose dependence it is too weak to detect, and they
# raise false alarms.
MIN_P_SINGLE_COLUMN: Final = 0.5
# One block among others that resemble their neighbours still has a uniform rank, so windows of one block leave out
# only columns that are clearly dependent.
MAX_P_CLEARLY_DEPENDENT: Final = 0.02


@dataclass(frozen=True, eq=False)
class VarianceRatio:
    """Variance ratios of a reference, and those of its blocks in random order.

    `p`: share of orders in which the largest ratio of any column is at least as large. `median`: ratio over all
    statistics that vary.

    `columns` and `p_columns`, shape (columns,): the ratio of each column (nan where nothing varies), and the share of
    orders in which the ratio of that column is at least as large.
    """

    p: float
    median: float
    columns: Floats
    p_columns: Floats

    @property
    def exchangeable(self) -> bool:
        """Whether the blocks of the reference may be exchanged with one another."""
        return self.p > MAX_P_DEPENDENT and self.median <= MAX_MEDIAN_RATIO

    def dependent(self, max_p: float) -> NDArray[np.bool_]:
        """Which columns are serially dependent, each by its own p; used where the reference as a whole is dependent."""
        found: NDArray[np.bool_] = self.p_columns <= max_p
        return found


def variance_ratio(
    sums: Floats,
    rows: Floats,
    phases: Ints,
    starts: Ints,
    horizon: int,
    seed: int,
    *,
    permutations: int = DEPENDENCE_PERMUTATIONS,
) -> VarianceRatio:
    """Variance ratios of sums of `horizon` neighbouring blocks.

    Args:
        sums: of each statistic over each reference block in order of time, shape (blocks, statistics).
        rows: number of rows in each block, shape (blocks,).
        phases: phase of each block, shape (blocks,); the mean of its phase is subtracted first.
        starts: index of the first statistic of each column, shape (columns,).
        horizon: number of neighbours that are summed, at least 2 and less than the number of blocks.
        seed: of the random orders.
        permutations: number of random orders.

    Returns:
        The ratios, ranked among those of the blocks in random order.

    Source: variance ratio after Lo and MacKinlay (1988), ranked among permutations.
    """
    e = _centred(sums, rows, phases)
    varies = np.sum(e * e, axis=0) > 1e-12
    random = np.random.default_rng(seed)
    found = np.empty((1 + permutations, e.shape[1]))
    for i in range(1 + permutations):
        order = random.permutation(len(e)) if i else np.arange(len(e))
        found[i] = _ratios(e[order], horizon)
    return _rank_orders(found, varies, starts, with_sum=False)


def quarter_variance_ratio(sums: Floats, rows: Floats, phases: Ints, starts: Ints, seed: int) -> VarianceRatio:
    """Variance ratios of days over their quarters, ranked among orders that exchange equal quarters between days.

    The largest ratio of any column is compared, or the sum over all columns where that is more extreme: an effect of
    the day moves many columns a little.

    Args:
        sums: of each statistic over each quarter, shape (days * quarters, statistics); complete days, in order of time.
        rows: number of rows in each quarter, shape (days * quarters,).
        phases: which quarter of its day each is, shape (days * quarters,).
        starts: index of the first statistic of each column, shape (columns,).
        seed: of the random orders.

    Returns:
        The ratios and their ranks; a small p means that quarters of one day resemble each other.

    Source: variance ratio after Lo and MacKinlay (1988), ranked among permutations.
    """
    e = _centred(sums, rows, phases)
    parts = len(np.unique(phases))
    days = len(e) // parts
    e = e.reshape(days, parts, -1)
    varies = np.sum(e * e, axis=(0, 1)) > 1e-12
    random = np.random.default_rng(seed)
    found = np.empty((1 + DEPENDENCE_PERMUTATIONS, e.shape[2]))
    own = np.maximum(np.sum(e * e, axis=(0, 1)), 1e-12)
    for i in range(1 + DEPENDENCE_PERMUTATIONS):
        day = e if not i else np.stack([e[random.permutation(days), q] for q in range(parts)], axis=1)
        found[i] = np.sum(day.sum(axis=1) ** 2, axis=0) / own
    return _rank_orders(found, varies, starts, with_sum=True)


def _centred(sums: Floats, rows: Floats, phases: Ints) -> Floats:
    e = np.empty_like(sums)
    for phase in np.unique(phases):
        at = phases == phase
        e[at] = sums[at] - rows[at, None] * (sums[at].sum(axis=0) / rows[at].sum())
    return e


def _ratios(e: Floats, horizon: int) -> Floats:
    run = np.cumsum(np.vstack([np.zeros(e.shape[1]), e]), axis=0)
    sums = run[horizon:] - run[:-horizon]
    own = np.maximum(np.mean(e * e, axis=0), 1e-300)
    found: Floats = np.mean(sums * sums, axis=0) / (horizon * own)
    return found


def _rank_orders(found: Floats, varies: NDArray[np.bool_], starts: Ints, *, with_sum: bool) -> VarianceRatio:
    """Rank the ratios of the real order among those of random ones.

    Args:
        found: ratio of each statistic, shape (orders, statistics), the real order first.
        varies: which statistics vary, shape (statistics,); the others do not count.
        starts: index of the first statistic of each column, shape (columns,).
        with_sum: whether the sum over all columns competes with the largest column.
    """
    column = np.repeat(np.arange(len(starts)), np.diff([*starts, found.shape[1]]))
    used = np.bincount(column, weights=varies, minlength=len(starts))
    weights = (column[:, None] == np.arange(len(starts))[None, :]) * varies[:, None]
    by_column = (found @ weights) / np.maximum(used, 1.0)
    deviation = np.maximum(by_column.std(axis=0), 1e-9)
    z = np.where(used > 0, (by_column - by_column.mean(axis=0)) / deviation, -np.inf)
    largest = z.max(axis=1) if z.shape[1] else np.zeros(len(found))
    if with_sum and np.any(used > 0):
        horizon = by_column[:, used > 0].sum(axis=1)
        largest = np.maximum(
            largest,
            (horizon - horizon.mean()) / max(float(horizon.std()), 1e-9),
        )
    largest[~np.isfinite(largest)] = 0.0
    columns = np.where(used > 0, by_column[0], np.nan)
    return VarianceRatio(
        p=float(np.mean(largest >= largest[0] - 1e-9)),
        median=float(np.median(found[0, varies])) if varies.any() else 1.0,
        columns=columns,
        p_columns=np.where(used > 0, np.mean(z >= z[0] - 1e-9, axis=0), 1.0),
    )

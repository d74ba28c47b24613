"""Do the blocks of a reference hang together? Asked once per reference, before any window is judged by them.

If blocks are exchangeable, the sum of m neighbours varies m times as much as one block. Where a series wanders, it
varies more: growth = Var(sum of m neighbours) / (m Var(block)) lies above 1. The reference's own blocks in random order
say how far above it may lie by chance.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.profile.coding import Floats, Ints

DEPENDENCE_PERMUTATIONS: Final = 99
MAX_P_DEPENDENT: Final = 0.10
MAX_MEDIAN_RATIO: Final = 1.3
# For windows of several blocks, a column of a reference that failed is trusted by itself only without any sign of
# growth: a level of a tenth lets pass columns whose memory it is too weak to see, and they alarm.
MIN_P_SINGLE_COLUMN: Final = 0.5
# One block among others that resemble their neighbours still ranks as any: there only clear memory is left out.
MAX_P_CLEARLY_DEPENDENT: Final = 0.02


@dataclass(frozen=True, eq=False)
class VarianceRatio:
    """`p`: share of orders whose most growing column grows as much; `median`: over all functionals that vary.

    `columns` and `p_columns`, shape (columns,): growth of each column (nan where nothing varies) and the share of
    orders in which that column alone grows as much.
    """

    p: float
    median: float
    columns: Floats
    p_columns: Floats

    @property
    def exchangeable(self) -> bool:
        return self.p > MAX_P_DEPENDENT and self.median <= MAX_MEDIAN_RATIO

    def wandering(self, level: float) -> NDArray[np.bool_]:
        """Columns that grow by themselves, asked only where the reference as a whole fails."""
        found: NDArray[np.bool_] = self.p_columns <= level
        return found


def variance_ratio(
    sums: Floats,
    rows: Floats,
    phases: Ints,
    starts: Ints,
    together: int,
    seed: int,
    *,
    shuffles: int = DEPENDENCE_PERMUTATIONS,
) -> VarianceRatio:
    """Growth from one block to `together` neighbours.

    Args:
        sums: of each functional over each reference block in order of time, shape (blocks, functionals).
        rows: of each block, shape (blocks,).
        phases: of each block; the mean of its phase is taken out first.
        starts: where the functionals of each column begin.
        together: neighbours that are summed, at least 2 and fewer than the blocks.
        seed: of the random orders.

    Source: variance ratio after Lo and MacKinlay (1988), ranked among permutations.
    """
    e = _centred(sums, rows, phases)
    varies = np.sum(e * e, axis=0) > 1e-12
    random = np.random.default_rng(seed)
    found = np.empty((1 + shuffles, e.shape[1]))
    for i in range(1 + shuffles):
        order = random.permutation(len(e)) if i else np.arange(len(e))
        found[i] = _ratios(e[order], together)
    return _rank_orders(found, varies, starts, with_sum=False)


def quarter_variance_ratio(sums: Floats, rows: Floats, phases: Ints, starts: Ints, seed: int) -> VarianceRatio:
    """Growth from the parts of a day to the day; the same part is shuffled between days.

    `sums` holds whole days alone, part after part; `phases` is the part of each. The statistic is the larger of the
    best column and the sum of all columns, for an effect of the day moves many columns a little.
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


def _ratios(e: Floats, together: int) -> Floats:
    run = np.cumsum(np.vstack([np.zeros(e.shape[1]), e]), axis=0)
    sums = run[together:] - run[:-together]
    own = np.maximum(np.mean(e * e, axis=0), 1e-300)
    found: Floats = np.mean(sums * sums, axis=0) / (together * own)
    return found


def _rank_orders(found: Floats, varies: NDArray[np.bool_], starts: Ints, *, with_sum: bool) -> VarianceRatio:
    """`found`: growth of each functional, shape (orders, functionals), the real order first."""
    column = np.repeat(np.arange(len(starts)), np.diff([*starts, found.shape[1]]))
    used = np.bincount(column, weights=varies, minlength=len(starts))
    weights = (column[:, None] == np.arange(len(starts))[None, :]) * varies[:, None]
    by_column = (found @ weights) / np.maximum(used, 1.0)
    deviation = np.maximum(by_column.std(axis=0), 1e-9)
    z = np.where(used > 0, (by_column - by_column.mean(axis=0)) / deviation, -np.inf)
    largest = z.max(axis=1) if z.shape[1] else np.zeros(len(found))
    if with_sum and np.any(used > 0):
        together = by_column[:, used > 0].sum(axis=1)
        largest = np.maximum(largest, (together - together.mean()) / max(float(together.std()), 1e-9))
    largest[~np.isfinite(largest)] = 0.0
    columns = np.where(used > 0, by_column[0], np.nan)
    return VarianceRatio(
        p=float(np.mean(largest >= largest[0] - 1e-9)),
        median=float(np.median(found[0, varies])) if varies.any() else 1.0,
        columns=columns,
        p_columns=np.where(used > 0, np.mean(z >= z[0] - 1e-9, axis=0), 1.0),
    )

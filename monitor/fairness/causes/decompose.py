"""Parts of a disparity by column: what comes of who is in the groups, and what of how equal rows fare in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from core.arrays import Floats
from monitor.fairness.causes.factors import Factor
from monitor.fairness.causes.groups import FEWEST, Ranged, TwoGroups, ranged

CHUNK: Final = 16_384  # rows


@dataclass(frozen=True, slots=True)
class LevelParts:
    """One level of a column: its rows and mean (of at least 5) in each group, and its two parts of the disparity."""

    level: str
    n: tuple[int, int]
    means: tuple[float | None, float | None]
    composition: float
    rate: float


@dataclass(frozen=True, slots=True)
class FactorParts:
    """The disparity in two parts that add up to it, by one column.

    `composition`: the groups differ in how many rows each level has. `rate`: rows of the same level fare differently.
    `apart` is the share of rows on levels that only one group has, about which the rows say nothing.
    """

    factor: str
    composition: Ranged
    rate: Ranged
    apart: float
    levels: tuple[LevelParts, ...]


def by_factor(rows: TwoGroups, factor: Factor, *, tests: int = 1) -> FactorParts:
    """Divide a disparity by the levels of one column.

    Args:
        rows: both groups, each with at least one row.
        factor: the column, for the same rows.
        tests: columns that are looked at together, for the intervals.

    Returns:
        Parts that add up to the disparity exactly, with 95 % intervals over all columns together. A level that one
        group lacks is given the other group's mean, so that it is composition alone.

    Source: Kitagawa (1955), Journal of the American Statistical Association 50, 1168-1194; intervals by the delta
    method.
    """
    k = len(factor.levels)
    side = rows.later.astype(np.int64)
    cell = side * k + factor.codes
    n = np.bincount(cell, minlength=2 * k).reshape(2, k).astype(np.float64)
    sums = np.bincount(cell, weights=rows.value, minlength=2 * k).reshape(2, k)
    squares = np.bincount(cell, weights=rows.value**2, minlength=2 * k).reshape(2, k)
    own = np.divide(sums, n, out=np.full((2, k), np.nan), where=n > 0)
    means = np.where(n > 0, own, own[::-1])  # of a level that one group lacks: the other's
    means = np.nan_to_num(means)  # of a level that neither has
    share = n / n.sum(axis=1, keepdims=True)
    middle, shares, gap, moved = means.mean(axis=0), share.mean(axis=0), means[1] - means[0], share[1] - share[0]
    overall = float(np.mean(rows.means))
    composition, rate = moved * (middle - overall), gap * shares
    left = np.maximum(squares - n * means**2, 0.0) * (n > 0)  # squares around the level's own mean
    pooled = float(left.sum() / n.sum())
    variance = np.where(n > 0, (left + pooled) / np.maximum(n, 1.0) ** 2, 0.0)  # of each mean
    total = n.sum(axis=1)
    return FactorParts(
        factor.name,
        ranged(float(composition.sum()), _variance(share, total, middle, variance, moved / 2), tests, share=rows.share),
        ranged(float(rate.sum()), _variance(share, total, gap / 2, variance, shares), tests, share=rows.share),
        float(n[:, (n == 0).any(axis=0)].sum() / n.sum()),
        tuple(
            LevelParts(
                name, (int(n[0, i]), int(n[1, i])), (_shown(own[0, i], n[0, i]), _shown(own[1, i], n[1, i])),
                float(composition[i]), float(rate[i]),
            )
            for i, name in enumerate(factor.levels) if n[:, i].any()
        ),
    )  # fmt: skip


def _variance(share: Floats, total: Floats, each: Floats, of_means: Floats, weights: Floats) -> float:
    """Variance of sum(share * each) of both groups, where shares are those of multinomial counts, plus that of the
    weighted means."""
    mean = (share * each).sum(axis=1)
    of_shares = ((share * each**2).sum(axis=1) - mean**2) / total
    return float(of_shares.sum() + (weights**2 * of_means).sum())


def _shown(mean: float, rows: float) -> float | None:
    return float(mean) if rows >= FEWEST else None


@dataclass(frozen=True, slots=True)
class Together:
    """The disparity as a part of each column, the others held fixed, and what no column explains; they add up to it."""

    factors: tuple[str, ...]
    parts: tuple[Ranged, ...]
    unexplained: Ranged


def together(rows: TwoGroups, factors: Sequence[Factor]) -> Together:
    """Divide a disparity by several columns at once, each with the others held fixed.

    A linear model of the value on the levels of all columns and the group gives the coefficients. The part of a column
    is the difference of its levels' shares between the groups, times their coefficients; the coefficient of the group
    is what no column explains.

    Args:
        rows: both groups, each with at least one row.
        factors: the columns, for the same rows.

    Returns:
        Parts that add up to the disparity exactly, with 95 % intervals over all of them together that allow for unequal
        variance. Columns of which one follows from others share their part evenly.

    Source: Oaxaca (1973), Blinder (1973); coefficients pooled with a dummy of the group, Jann (2008), Stata Journal 8,
    453-479; intervals by influence functions (White, 1980).
    """
    width = [len(f.levels) for f in factors]
    ends = np.cumsum([0, *width])
    n = np.array(rows.sizes, dtype=np.float64)
    side = rows.later.astype(np.int64)
    shares = np.zeros((2, int(ends[-1])))
    for f, start in zip(factors, ends, strict=False):
        counts = np.bincount(side * len(f.levels) + f.codes, minlength=2 * len(f.levels))
        shares[:, start : start + len(f.levels)] = counts.reshape(2, -1) / n[:, None]
    means = np.array(rows.means)

    def centred(at: slice) -> tuple[Floats, Floats]:
        """Levels and values of some rows, less the means of the row's group."""
        x = np.zeros((len(side[at]), int(ends[-1])))
        for f, start in zip(factors, ends, strict=False):
            x[np.arange(len(x)), start + f.codes[at]] = 1.0
        return x - shares[side[at]], rows.value[at] - means[side[at]]

    chunks = [slice(i, i + CHUNK) for i in range(0, len(side), CHUNK)]
    cross, with_value = np.zeros((int(ends[-1]), int(ends[-1]))), np.zeros(int(ends[-1]))
    for at in chunks:
        x, y = centred(at)
        cross += x.T @ x
        with_value += x.T @ y
    inverse = np.linalg.pinv(cross, rcond=1e-10, hermitian=True)
    slope = inverse @ with_value
    moved = shares[1] - shares[0]
    parts = np.array([moved[a:b] @ slope[a:b] for a, b in pairwise(ends)])
    weight = np.stack([_only(moved, a, b) @ inverse for a, b in pairwise(ends)])
    variance, rest = np.zeros(len(parts)), 0.0
    for at in chunks:
        x, y = centred(at)
        sign = np.where(side[at] == 1, 1.0, -1.0) / n[side[at]]
        own = np.stack([x[:, a:b] @ slope[a:b] for a, b in pairwise(ends)], axis=1)
        influence = own * sign[:, None] + (x @ weight.T) * (y - x @ slope)[:, None]
        variance += (influence**2).sum(axis=0)
        rest += float(((y * sign - influence.sum(axis=1)) ** 2).sum())
    unexplained = rows.disparity - float(parts.sum())
    tests = len(parts) + 1
    return Together(
        tuple(f.name for f in factors),
        tuple(ranged(float(p), float(v), tests, share=rows.share) for p, v in zip(parts, variance, strict=True)),
        ranged(unexplained, rest, tests, share=rows.share),
    )


def _only(values: Floats, begin: int, end: int) -> Floats:
    found = np.zeros_like(values)
    found[begin:end] = values[begin:end]
    return found

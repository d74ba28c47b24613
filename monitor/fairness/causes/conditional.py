"""Conditional parity: the disparity among rows that are alike in declared columns, and whether it turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from core.arrays import Flags, Floats, Ints
from monitor.fairness.causes.factors import Factor, product
from monitor.fairness.causes.groups import FEWEST, Ranged, TwoGroups, ranged

MOST_STRATA: Final = 100

Turn = Literal["reversed", "vanishes", "appears"]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Rows that are alike; `thin` where a group has fewer rows than the smallest that is shown as compared."""

    level: str
    n: tuple[int, int]
    means: tuple[float | None, float | None]
    thin: bool


@dataclass(frozen=True, slots=True)
class HeldFixed:
    """The disparity with some columns held fixed.

    Attributes:
        given: the columns.
        crude: over all rows.
        adjusted: the mean of the strata's differences, weighted by rows.
        p: of the test that no stratum has a difference; None where no stratum has both groups.
        turn: what becomes of the disparity; None where it stays as it is.
        strata: those with most rows first, at most 100; the mean of fewer than 5 rows is left out.
        alone: share of the rows in strata that only one group has; nothing is compared there.
        thin: strata that have both groups, one of them with few rows.
    """

    given: tuple[str, ...]
    crude: Ranged
    adjusted: Ranged
    p: float | None
    turn: Turn | None
    strata: tuple[Stratum, ...]
    compared: int
    alone: float
    thin: int


def held_fixed(rows: TwoGroups, factors: Sequence[Factor], *, min_group: int, tests: int = 1) -> HeldFixed:
    """Compare the groups within strata of rows that are alike in some columns.

    Args:
        rows: both groups, each with at least one row.
        factors: the columns, for the same rows.
        min_group: rows of a group from which on a stratum is not thin; thin ones count by their rows all the same.
        tests: sets of columns that are looked at together, for intervals and turns.

    Returns:
        Mantel-Haenszel's difference: of shares with the variance that holds for many thin strata as for few large ones,
        of numbers with that of each stratum. Undefined where no stratum has both groups.

    Source: Mantel and Haenszel (1959); Cochran (1954); variance of shares by Sato (1989), Biometrics 45, 1323-1324.
    """
    strata = product(factors)
    k = len(strata.levels)
    cell = rows.later.astype(np.int64) * k + strata.codes
    n = np.asarray(np.bincount(cell, minlength=2 * k).reshape(2, k), dtype=np.float64)
    sums = np.asarray(np.bincount(cell, weights=rows.value, minlength=2 * k).reshape(2, k), dtype=np.float64)
    both: Flags = np.asarray((n > 0).all(axis=0))
    thin = both & (n < min_group).any(axis=0)
    adjusted, p = _adjusted(rows, cell, n, sums, both, tests)
    crude = rows.crude
    order = np.argsort(-n.sum(axis=0), kind="stable")[:MOST_STRATA]
    shown = tuple(
        Stratum(
            strata.levels[i], (int(n[0, i]), int(n[1, i])),
            tuple(float(s / c) if c >= FEWEST else None for s, c in zip(sums[:, i], n[:, i], strict=True)),  # type: ignore[arg-type]
            bool((n[:, i] < min_group).any()),
        )
        for i in order if n[:, i].any()
    )  # fmt: skip
    gaps = sums[1, both] / n[1, both] - sums[0, both] / n[0, both]
    return HeldFixed(
        tuple(f.name for f in factors), crude, adjusted, p, _turn(crude, adjusted, gaps), shown, int(both.sum()),
        float(n[:, ~both].sum() / n.sum()), int(thin.sum()),
    )  # fmt: skip


def _adjusted(
    rows: TwoGroups, cell: Ints, n: Floats, sums: Floats, both: Flags, tests: int
) -> tuple[Ranged, float | None]:
    if not both.any():
        return Ranged(None, reason="no level of these columns has rows of both groups"), None
    (a, b), (x, y), total = n[:, both], sums[:, both], n[:, both].sum(axis=0)
    weight = a * b / total
    gap = float((weight * (y / b - x / a)).sum() / weight.sum())
    if rows.share:
        spent = (a**2 * y - b**2 * x + a * b * (b - a) / 2) / total**2
        crossed = (x * (b - y) + y * (a - x)) / (2 * total)
        variance = (gap * float(-spent.sum()) + float(crossed.sum())) / float(weight.sum()) ** 2
        return ranged(gap, variance, tests, share=True), _no_difference(a, b, x, y, total)
    squares = np.bincount(cell, weights=rows.value**2, minlength=n.size).reshape(n.shape)[:, both]
    left = np.maximum(squares - sums[:, both] ** 2 / n[:, both], 0.0)
    pooled = float(left.sum() / n[:, both].sum())
    each = ((left + pooled) / n[:, both] ** 2).sum(axis=0)
    variance = float((weight**2 * each).sum() / weight.sum() ** 2)
    from scipy.stats import norm

    return ranged(gap, variance, tests), float(2 * norm.sf(abs(gap) / np.sqrt(variance))) if variance > 0 else None


def _no_difference(a: Floats, b: Floats, x: Floats, y: Floats, total: Floats) -> float | None:
    """P value of Cochran, Mantel and Haenszel's test, without the correction for continuity."""
    hits = x + y
    expected = b * hits / total
    many = total > 1
    variance = float((a * b * hits * (total - hits))[many] @ (1.0 / (total**2 * (total - 1))[many]))
    if variance <= 0:
        return None
    from scipy.stats import chi2

    return float(chi2.sf(float((y - expected).sum()) ** 2 / variance, df=1))


def _turn(crude: Ranged, adjusted: Ranged, gaps: Floats) -> Turn | None:
    """What becomes of a disparity; what turns is told only where one of the two numbers is clear, or every stratum
    points the other way: numbers near 0 turn by chance."""
    if adjusted.value is None or crude.value is None:
        return None
    every = len(gaps) > 1 and bool((gaps * crude.value < 0).all())
    if crude.value * adjusted.value < 0 and (crude.clear or adjusted.clear or every):
        return "reversed"
    if crude.clear and not adjusted.clear:
        return "vanishes"
    return "appears" if adjusted.clear and not crude.clear else None

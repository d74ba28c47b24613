"""Tests of many groups at once: which groups differ, with one error for all of them, and the four-fifths line.

A p value of one group of forty says little: two of forty are below 0.05 by chance. The p values here are corrected for
the number of groups (Holm), so one below 0.05 is seen by chance in one of twenty looks, however many groups there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from core.arrays import Floats, Ints
from monitor.fairness.intervals import LEVEL, ratio, reported

FOUR_FIFTHS: Final = 0.8  # 29 CFR 1607.4(D)
_FEW: Final = 10.0  # rows expected in the smallest cell, below which a group is tested exactly


@dataclass(frozen=True, slots=True)
class Impact:
    """The selection rate of one group beside the highest one.

    Attributes:
        group: its place among the groups; `best` is the place of the group with the highest rate.
        ratio: its rate divided by the highest; None, with a reason, where that is 0 or a group has no row.
        low, high: ends of the 95 % interval of the ratio; None where it has none.
        below: whether the ratio is below four fifths.
        p: Fisher's exact p value of equal rates of the two groups, two-sided, not corrected.
        adjusted_p: the same, corrected for the number of groups.
    """

    group: int
    best: int
    ratio: float | None
    reason: str | None
    low: float | None
    high: float | None
    below: bool | None
    p: float | None
    adjusted_p: float | None


def holm(p: ArrayLike) -> Floats:
    """P values corrected for their number, so that the smallest of true hypotheses is below alpha at most that often.

    Args:
        p: p values, shape (tests,); nan for a test that could not be made, which does not count.

    Returns:
        Corrected p values, 0..1, shape (tests,); nan where p is.

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p, dtype=np.float64)
    found = np.full(values.shape, np.nan)
    made = np.flatnonzero(np.isfinite(values))
    order = made[np.argsort(values[made], kind="stable")]
    scaled = values[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else scaled
    return found


def fisher(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """Exact p value, two-sided, of equal rates of two groups.

    Args:
        hits_a, n_a: rows that count and rows of the first group of each pair.
        hits_b, n_b: those of the second group.

    Returns:
        P values 0..1; nan where a group has no row.

    Source: Fisher (1935); scipy.stats.fisher_exact.
    """
    sides = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (hits_a, n_a, hits_b, n_b)))
    found = np.full(sides[0].shape, np.nan)
    for at in np.ndindex(found.shape):
        found[at] = _of_table(*(int(side[at]) for side in sides))
    return found


def _of_table(hits_a: int, n_a: int, hits_b: int, n_b: int) -> float:
    from scipy.stats import fisher_exact

    if not n_a or not n_b:
        return float("nan")
    if hits_a + hits_b in (0, n_a + n_b):
        return 1.0
    table = np.array([[hits_a, n_a - hits_a], [hits_b, n_b - hits_b]])
    return float(fisher_exact(table).pvalue)


def score(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """P value, two-sided, of equal rates of two groups, by the normal distribution; for many rows.

    Args:
        hits_a, n_a: rows that count and rows of the first group of each pair.
        hits_b, n_b: those of the second group.

    Returns:
        P values 0..1; nan where a group has no row; 1 where no row counts or every row does.

    Source: Pearson (1900), without a correction.
    """
    from scipy.special import ndtr

    xa, na, xb, nb = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (hits_a, n_a, hits_b, n_b)))
    with np.errstate(divide="ignore", invalid="ignore"):
        together = (xa + xb) / (na + nb)
        z = np.abs(xa / na - xb / nb) / np.sqrt(together * (1.0 - together) * (1.0 / na + 1.0 / nb))
    p = np.where((together == 0.0) | (together == 1.0), 1.0, 2.0 * ndtr(-z))
    return np.where((na > 0) & (nb > 0), p, np.nan)


def against_rest(hits: Ints, n: Ints) -> Floats:
    """Corrected p value, for each group, of the same rate in it and in all other groups together.

    Args:
        hits: rows that count, shape (groups,).
        n: rows, shape (groups,).

    Returns:
        P values after Holm, shape (groups,): exact where fewer than 10 rows are expected in a cell. Nan for a group
        that has no row, or every row.

    Source: Fisher (1935), Pearson (1900), Holm (1979).
    """
    rest_hits, rest = hits.sum() - hits, n.sum() - n
    found = score(hits, n, rest_hits, rest)
    share = hits.sum() / max(int(n.sum()), 1)
    few = np.flatnonzero(np.minimum(n, rest) * min(share, 1.0 - share) < _FEW)
    found[few] = fisher(hits[few], n[few], rest_hits[few], rest[few])
    return found if int((n > 0).sum()) == 2 else holm(found)  # of two groups both tests are one


def adjusted_p(hits: Ints, n: Ints, known: Sequence[int]) -> dict[int, float | None]:
    """The corrected p value of each group whose members are known, against all others of these.

    Args:
        hits: rows that count, shape (groups,).
        n: rows, shape (groups,).
        known: places of these groups.

    Returns:
        By place; None for a group without rows. Empty with fewer than two groups.

    Source: that of `against_rest`.
    """
    at = list(known)
    if len(at) < 2:
        return {}
    return {place: reported(p) for place, p in zip(at, against_rest(hits[at], n[at]), strict=True)}


def four_fifths(hits: Ints, n: Ints, level: float = LEVEL) -> list[Impact]:
    """Each group's selection rate beside the highest one: the ratio, its interval, and an exact test.

    The line of four fifths says how large a difference is, the test whether chance alone explains it. Neither replaces
    the other: of few rows a ratio below the line may be chance, of many a ratio above it may be real.

    Args:
        hits: rows with the favourable answer, shape (groups,).
        n: rows, shape (groups,).
        level: of the intervals.

    Returns:
        One entry for each group but the best one, in order of the groups. Empty where fewer than two have rows.

    Source: 29 CFR 1607.4(D); Fisher (1935), Holm (1979); Koopman (1984) for the interval.
    """
    if int((n > 0).sum()) < 2:
        return []
    rates = np.divide(hits, n, out=np.full(len(n), -1.0), where=n > 0)
    best = int(np.argmax(rates))
    others = np.array([g for g in range(len(n)) if g != best], dtype=np.int64)
    p = fisher(hits[others], n[others], hits[best], n[best])
    adjusted = holm(p)
    low, high = ratio(hits[others], n[others], hits[best], n[best], level)
    found = []
    for at, group in enumerate(others.tolist()):
        reason = "the group has no rows" if not n[group] else "the highest rate is 0" if not hits[best] else None
        value = None if reason else float(rates[group] / rates[best])
        found.append(
            Impact(
                group, best, value, reason, reported(low[at]) if value is not None else None,
                reported(high[at]) if value is not None else None, None if value is None else value < FOUR_FIFTHS,
                reported(p[at]), reported(adjusted[at]),
            )
        )  # fmt: skip
    return found

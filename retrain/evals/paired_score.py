"""Tango's score interval for a difference of two paired proportions, and what the rows of one subject cost it."""

import math
from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InvalidError

Interval = tuple[float, float]
STEPS: Final = 50  # of the bisection: 2 / 2^50 is below what a float of the interval can show
FEW: Final = 10  # with fewer rows on which the models differ, how they cluster cannot be seen


def score(gained: float, lost: float, n: float, difference: float) -> float:
    """Score statistic of a difference of paired proportions: about standard normal where the difference is true.

    Args:
        gained: pairs that only the second model answers rightly; counts may be fractions, of an effective size.
        lost: pairs that only the first model answers rightly.
        n: all pairs, at least gained + lost, above 0.
        difference: of the two shares under test, second minus first, in [-1, 1].

    Returns:
        The statistic; infinite where the observed pairs are impossible under the difference.

    Source: Tango (1998), Statistics in Medicine 17, 891-908, with the share of lost pairs at its maximum likelihood
    under the difference. At 0 it is McNemar's statistic.
    """
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    excess = gained - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def score_interval(gained: float, lost: float, n: float, quantile: float) -> Interval:
    """The differences that the score test does not reject.

    Args:
        gained, lost, n: as in `score`.
        quantile: of the statistic, such as 1.96 for a two-sided interval of 95 %.

    Returns:
        Lower and upper end in [-1, 1]. It does not collapse where the models agree on every row.

    Raises:
        InvalidError: the counts are negative, or more pairs differ than there are.
    """
    if n <= 0 or gained < 0 or lost < 0 or gained + lost > n * (1 + 1e-9):
        raise InvalidError(f"gained: {gained}, lost: {lost} of n: {n} are no counts of pairs; need gained + lost <= n")
    return _lower(gained, lost, n, quantile), -_lower(lost, gained, n, quantile)


def _lower(gained: float, lost: float, n: float, quantile: float) -> float:
    low, high = -1.0, (gained - lost) / n
    for _ in range(STEPS):
        middle = (low + high) / 2
        if score(gained, lost, n, middle) > quantile:
            low = middle
        else:
            high = middle
    return low


def design_effect(gain: Floats, clusters: Floats) -> float:
    """How many times larger the variance of a mean is because the rows of one cluster belong together.

    Args:
        gain: a value of each row, shape (n,).
        clusters: number of the cluster of each row, shape (n,), whole numbers from 0.

    Returns:
        At least 1. With fewer than FEW rows that differ from 0 it is the largest that the sizes of the clusters allow:
        every cluster one row.

    Source: Kish (1965), Survey Sampling; Rao and Scott (1992), Biometrics 48, 577-585.
    """
    n = len(gain)
    sizes = np.bincount(clusters.astype(np.intp))
    sizes = sizes[sizes > 0]
    m = len(sizes)
    if m == n:
        return 1.0
    worst = float((sizes.astype(np.float64) ** 2).sum()) / n
    apart = gain - gain.mean()
    alone = float((apart**2).sum())
    if m < 2 or alone == 0 or int((gain != 0).sum()) < FEW:
        return worst
    sums = np.bincount(clusters.astype(np.intp), weights=apart)
    return max(1.0, m / (m - 1) * float((sums**2).sum()) / alone)

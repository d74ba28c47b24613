"""Confidence intervals of rates, and of differences and ratios of rates: closed forms over whole arrays.

Every function broadcasts over cells. An end is nan where a denominator is 0: no number is made up where there is no
row. `reported` turns nan and infinity into None for a document. All of them take rows as independent.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from core.arrays import Floats

Ends = tuple[Floats, Floats]  # lower and upper ends, of the shape that the arguments broadcast to

LEVEL: Final = 0.95
_STEPS: Final = 46  # of a bisection; the last one moves an end by less than 2e-12
_LOG_RATIO: Final = 40.0  # ratios between e^-40 and e^40 are told apart


def wilson(hits: ArrayLike, n: ArrayLike, level: float = LEVEL) -> Ends:
    """Score interval of a rate.

    Args:
        hits: rows that count, 0 <= hits <= n.
        n: rows; nan where it is 0.
        level: probability that the interval holds the rate, 0..1.

    Returns:
        Lower and upper ends, 0..1; exactly 0 without a hit, exactly 1 without a miss.

    Source: Wilson (1927), Journal of the American Statistical Association 22, 209-212.
    """
    x, total = _counts(hits, n)
    z = _z(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = x / total
        middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
        half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total * total))
    low, high = np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
    return np.where(x > 0, low, np.where(np.isnan(low), np.nan, 0.0)), np.where(
        x < total, high, np.where(np.isnan(high), np.nan, 1.0)
    )


def clopper_pearson(hits: ArrayLike, n: ArrayLike, level: float = LEVEL) -> Ends:
    """Exact interval of a rate: each end is wrong with a probability of at most (1 - level) / 2, however few rows.

    Args:
        hits: rows that count, 0 <= hits <= n.
        n: rows; nan where it is 0.
        level: probability that the interval holds the rate at least, 0..1.

    Returns:
        Lower and upper ends, 0..1.

    Source: Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    from scipy.special import betaincinv

    x, total = _counts(hits, n)
    tail = (1.0 - level) / 2.0
    low = np.where(x > 0, betaincinv(np.maximum(x, 1), total - x + 1, tail), 0.0)
    high = np.where(x < total, betaincinv(x + 1, np.maximum(total - x, 1), 1.0 - tail), 1.0)
    none = ~(total > 0)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def newcombe(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, level: float = LEVEL) -> Ends:
    """Hybrid score interval of the difference of two independent rates, a - b.

    Args:
        hits_a, n_a: rows that count and rows of the first group.
        hits_b, n_b: those of the second group.
        level: probability that the interval holds the difference, 0..1.

    Returns:
        Lower and upper ends, -1..1; nan where a group has no row.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.
    """
    (xa, na), (xb, nb) = _counts(hits_a, n_a), _counts(hits_b, n_b)
    return difference_of(_rate(xa, na), wilson(xa, na, level), _rate(xb, nb), wilson(xb, nb, level))


def difference_of(a: Floats, ends_a: Ends, b: Floats, ends_b: Ends) -> Ends:
    """Ends of a difference, recovered from the ends of its two sides.

    Args:
        a, b: the estimates.
        ends_a, ends_b: their ends.

    Returns:
        Lower and upper ends of a - b.

    Source: Zou and Donner (2008), Statistics in Medicine 27, 1693-1702 (MOVER); Newcombe's where the ends are Wilson's.
    """
    low = a - b - np.sqrt((a - ends_a[0]) ** 2 + (ends_b[1] - b) ** 2)
    high = a - b + np.sqrt((ends_a[1] - a) ** 2 + (b - ends_b[0]) ** 2)
    return low, high


def miettinen_nurminen(
    hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, level: float = LEVEL
) -> Ends:
    """Score interval of the difference of two independent rates, a - b: the differences that a score test allows.

    Args:
        hits_a, n_a: rows that count and rows of the first group.
        hits_b, n_b: those of the second group.
        level: probability that the interval holds the difference, 0..1.

    Returns:
        Lower and upper ends, -1..1; nan where a group has no row.

    Source: Miettinen and Nurminen (1985), Statistics in Medicine 4, 213-226.
    """
    xa, na, xb, nb = np.broadcast_arrays(*_counts(hits_a, n_a), *_counts(hits_b, n_b))
    z, a, b = _z(level), _rate(xa, na), _rate(xb, nb)
    value = a - b

    def score(delta: Floats) -> Floats:
        return _difference_score(delta, xa, na, xb, nb)

    low = _bisect(score, np.full_like(value, -1.0), value, z)
    high = _bisect(score, value, np.ones_like(value), -z)
    none = np.isnan(value)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _difference_score(delta: Floats, xa: Floats, na: Floats, xb: Floats, nb: Floats) -> Floats:
    """The score statistic of a difference of `delta`, with the rates that are likeliest under it; falls with delta."""
    n = na + nb
    with np.errstate(divide="ignore", invalid="ignore"):
        l2 = (na + 2 * nb) * delta - n - xa - xb
        l1 = (nb * delta - n - 2 * xb) * delta + xa + xb
        l0 = xb * delta * (1 - delta)
        q = (l2 / (3 * n)) ** 3 - l1 * l2 / (6 * n**2) + l0 / (2 * n)
        p = np.where(q < 0, -1.0, 1.0) * np.sqrt(np.maximum((l2 / (3 * n)) ** 2 - l1 / (3 * n), 0.0))
        angle = (np.pi + np.arccos(np.clip(np.divide(q, p**3, out=np.zeros_like(q), where=p != 0), -1, 1))) / 3
        rate_b = np.clip(2 * p * np.cos(angle) - l2 / (3 * n), np.maximum(0, -delta), np.minimum(1, 1 - delta))
        rate_a = np.clip(rate_b + delta, 0, 1)
        variance = (rate_a * (1 - rate_a) / na + rate_b * (1 - rate_b) / nb) * n / (n - 1)
        return _over(xa / na - xb / nb - delta, variance)


def ratio(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, level: float = LEVEL) -> Ends:
    """Score interval of the ratio of two independent rates, a / b: the ratios that a score test allows.

    Args:
        hits_a, n_a: rows that count and rows of the first group.
        hits_b, n_b: those of the second group, by whose rate is divided.
        level: probability that the interval holds the ratio, 0..1.

    Returns:
        Lower and upper ends, >= 0. The lower one is 0 where a has no hit, the upper one infinite where b has none; nan
        where a group has no row.

    Source: Koopman (1984), Biometrics 40, 513-517, with the variance of Miettinen and Nurminen (1985), Statistics in
    Medicine 4, 213-226.
    """
    xa, na, xb, nb = np.broadcast_arrays(*_counts(hits_a, n_a), *_counts(hits_b, n_b))
    z = _z(level)
    edge = np.full(xa.shape, _LOG_RATIO)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.clip(np.log(_rate(xa, na) / _rate(xb, nb)), -_LOG_RATIO, _LOG_RATIO)
    none, unknown = ~((na > 0) & (nb > 0)), np.isnan(value)

    def score(log_ratio: Floats) -> Floats:
        return _ratio_score(np.exp(log_ratio), xa, na, xb, nb)

    low = np.exp(_bisect(score, -edge, np.where(unknown, edge, value), z))
    high = np.exp(_bisect(score, np.where(unknown, -edge, value), edge, -z))
    low, high = np.where(xa > 0, low, 0.0), np.where(xb > 0, high, np.inf)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _ratio_score(theta: Floats, xa: Floats, na: Floats, xb: Floats, nb: Floats) -> Floats:
    """The score statistic of a ratio of `theta`, with the rates that are likeliest under it; falls with theta."""
    n = na + nb
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        b = na * theta + xa + nb + xb * theta
        # The smaller root of the quadratic, written so that nothing cancels for a large theta.
        rate_b = 2 * (xa + xb) / (b + np.sqrt(np.maximum(b**2 - 4 * n * theta * (xa + xb), 0.0)))
        rate_a = np.clip(theta * rate_b, 0, 1)
        variance = (rate_a * (1 - rate_a) / na + theta**2 * rate_b * (1 - rate_b) / nb) * n / (n - 1)
        return _over(xa / na - theta * xb / nb, variance)


def reported(end: float) -> float | None:
    """An end as a document shows it.

    Args:
        end: of an interval, or a rate; nan where it is undefined, infinite where it has no bound.

    Returns:
        The same number; None where it is undefined or has no bound.
    """
    return float(end) if np.isfinite(end) else None


def _counts(hits: ArrayLike, n: ArrayLike) -> Ends:
    x, total = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    return x, np.where(total > 0, total, np.nan)


def _rate(hits: Floats, n: Floats) -> Floats:
    out: Floats = np.full(np.broadcast_shapes(np.shape(hits), np.shape(n)), np.nan)
    np.divide(hits, n, out=out, where=n > 0)
    return out


def _over(distance: Floats, variance: Floats) -> Floats:
    """A distance in standard errors; infinite where there is no spread and the distance is not 0."""
    far = np.where(distance == 0, 0.0, np.sign(distance) * np.inf)
    return np.divide(distance, np.sqrt(variance), out=far, where=variance > 0)


def _bisect(falling: Callable[[Floats], Floats], low: Floats, high: Floats, target: float) -> Floats:
    """Where a function that falls takes a value, between two ends."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = falling(middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)


def _z(level: float) -> float:
    from scipy.special import ndtri

    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; give a probability between 0 and 1, such as 0.95")
    return float(ndtri((1.0 + level) / 2.0))

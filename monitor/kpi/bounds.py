"""The ends of a KPI's interval at any level, by which it is judged against a limit. All assume independent rows.

The 95 % interval that is shown may be wrong on one side once in 40 windows. A limit is judged at the level that the
false-alarm budget gives, often below one in a thousand, from as few as 30 rows. There a normal interval is wrong too
often, so these are exact where the field has an exact one, and wider than the normal one elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints

BOOTSTRAP_SAMPLES: Final = 300
SEED: Final = 20_240_101
UNSEEN_SHARE: Final = 0.05

# For a one-sided error alpha in (0, 0.5): the lower and the upper end, each wrong with a probability of at most about
# alpha; None for an end that the rows cannot bound.
Bounds = Callable[[float], tuple[float | None, float | None]]


@dataclass(frozen=True, slots=True)
class Share:
    """The Clopper-Pearson ends of a share: exact, so never wrong more often than alpha.

    Attributes:
        hits: rows that count, 0 <= hits <= n.
        n: rows, at least 1.

    Source: Clopper and Pearson (1934), Biometrika 26, 404-413.
    """

    hits: int
    n: int

    def __call__(self, alpha: float) -> tuple[float, float]:
        low, high = share_ends(np.array([self.hits]), np.array([self.n]), alpha)
        return float(low[0]), float(high[0])


def share_ends(hits: Ints, n: Ints, alpha: float) -> tuple[Floats, Floats]:
    """The Clopper-Pearson ends of several shares.

    Args:
        hits: rows that count, 0 <= hits <= n, shape (shares,).
        n: rows, at least 1, shape (shares,).
        alpha: one-sided error of each end.

    Returns:
        Lower and upper ends, shares in 0..1, shape (shares,) each.

    Source: Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    from scipy.special import betaincinv

    some, others = np.maximum(hits, 1), np.maximum(n - hits, 1)
    low = np.where(hits > 0, betaincinv(some, n - hits + 1, alpha), 0.0)
    high = np.where(hits < n, betaincinv(hits + 1, others, 1.0 - alpha), 1.0)
    return low, high


@dataclass(frozen=True, slots=True)
class Mean:
    """The ends of a mean: Student's, or those corrected for skewness where they are wider.

    Each end is computed with one more row: at the bound of the values on that side or, where there is none, twice as
    far from the mean as the farthest value. Rows that happen to be alike say little about rare ones.

    Attributes:
        values: one finite number per row, shape (rows,), at least two.
        lowest, highest: the range of the values, infinite where there is none.

    Source: Student (1908); Hall (1992), Journal of the Royal Statistical Society B 54, 221-228, for the skewness.
    """

    values: Floats
    lowest: float = -np.inf
    highest: float = np.inf

    def __call__(self, alpha: float) -> tuple[float, float]:
        low = -_upper_mean(-self.values, -self.lowest, alpha)
        return max(self.lowest, low), min(self.highest, _upper_mean(self.values, self.highest, alpha))


def _upper_mean(values: Floats, highest: float, alpha: float) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.append(values, highest if np.isfinite(highest) else 2.0 * values.max() - values.mean())
        n, mean, spread = len(values), float(values.mean()), float(values.std(ddof=1))
    if not spread or not np.isfinite(spread):
        return mean if not spread else float("inf")
    half = student(alpha, n - 1) / n**0.5
    skew = float(np.mean(((values - mean) / spread) ** 3))
    if abs(skew) < 1e-9:
        return float(mean + half * spread)
    corrected = (3.0 / skew) * (float(np.cbrt(1.0 + skew * (-half - skew / (6.0 * n)))) - 1.0)
    return float(mean + spread * max(half, -corrected))


@dataclass(frozen=True, slots=True)
class Around:
    """A value -+ its standard error times Student's quantile, cut at the range of the KPI.

    Attributes:
        value: of the KPI.
        error: its standard error.
        freedom: degrees of freedom of that error.
        lowest, highest: the range of the KPI.
        bias: mean error of the value; an end is moved by it where that makes the interval wider.
    """

    value: float
    error: float
    freedom: float
    lowest: float = -np.inf
    highest: float = np.inf
    bias: float = 0.0

    def __call__(self, alpha: float) -> tuple[float, float]:
        half = student(alpha, self.freedom) * self.error
        low, high = self.value - max(self.bias, 0.0) - half, self.value - min(self.bias, 0.0) + half
        return max(self.lowest, low), min(self.highest, high)


@dataclass(frozen=True, slots=True)
class AroundLogit:
    """The ends of a value in (0, 1): Student's on the logit scale.

    Attributes:
        value: of the KPI, in (0, 1).
        error: its standard error on the logit scale.
        freedom: degrees of freedom of that error.
    """

    value: float
    error: float
    freedom: float

    def __call__(self, alpha: float) -> tuple[float, float]:
        from scipy.special import expit, logit

        middle, half = logit(self.value), student(alpha, self.freedom) * self.error
        return float(expit(middle - half)), float(expit(middle + half))


@dataclass(frozen=True, slots=True)
class Resampled:
    """The ends of a value of which nothing is known but how much it varies over samples of its rows.

    Where it does not vary, the rows are alike. They bound the value once they exclude that a twentieth of all rows
    differs from them, and do not before.

    Attributes:
        value: of the KPI.
        error: its standard deviation over bootstrap samples.
        n: rows.
        lowest, highest: the range of the KPI, infinite where there is none.
    """

    value: float
    error: float
    n: int
    lowest: float = -np.inf
    highest: float = np.inf

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        if self.error:
            return Around(self.value, self.error, self.n - 1, self.lowest, self.highest)(alpha)
        return (self.value, self.value) if 1.0 - alpha ** (1.0 / self.n) <= UNSEEN_SHARE else (None, None)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The ends of an increasing function of another KPI, such as a root.

    Attributes:
        inner: the ends of the other KPI.
        function: increasing.
    """

    inner: Bounds
    function: Callable[[float], float]

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        low, high = self.inner(alpha)
        return None if low is None else self.function(low), None if high is None else self.function(high)


@dataclass(frozen=True, eq=False, slots=True)
class MacroAverage:
    """The ends of a mean of figures of the classes, by a bootstrap of the rows of each outcome.

    The bootstrap draws each outcome's rows from their counts with one right and one wrong row more: a class of three
    rows, all right, varies too. The degrees of freedom weigh the classes by their share of the variance, so a rare
    class widens the interval. The bias of the average is taken twice, for a bootstrap underrates it where classes have
    few rows. Of the ends on the scale of shares and on that of log-odds the farther ones count.

    Attributes:
        counts: rows per (outcome, prediction), shape (classes, classes).
        figure: reads counts of shape (..., classes, classes), returns the mean over the classes that are averaged.
        value: the figure of `counts`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; Satterthwaite (1946),
    Biometrics Bulletin 2, 110-114, for the degrees of freedom.
    """

    counts: Ints
    figure: Callable[[Ints], Floats]
    value: float

    def __call__(self, alpha: float) -> tuple[float, float]:
        plain, smoothed = (resampled(self.counts, self.figure, more) for more in (0.0, 1.0))
        rows, right = self.counts.sum(axis=1), np.diagonal(self.counts)
        rows, right = rows[rows > 0], right[rows > 0]
        variances = (right + 1.0) * (rows - right + 1.0) / (rows + 2.0) ** 3
        freedom = variances.sum() ** 2 / float((variances**2 / np.maximum(rows - 1.0, 0.5)).sum())
        error, bias = float(smoothed.std(ddof=1)), float(plain.mean()) - self.value
        low, high = Around(self.value, error, freedom, 0.0, 1.0, 2.0 * bias)(alpha)
        if not 0.0 < self.value < 1.0:
            return low, high
        other = AroundLogit(self.value, error / (self.value * (1.0 - self.value)), freedom)(alpha)
        return min(low, other[0]), max(high, other[1])


def resampled(counts: Ints, figure: Callable[[Ints], Floats], more: float = 0.0) -> Floats:
    """A figure over 300 seeded bootstrap samples of the rows of each outcome.

    Args:
        counts: rows per (outcome, prediction), shape (classes, classes).
        figure: reads counts of shape (..., classes, classes).
        more: rows that are added to the right answers of an outcome, and as many to its wrong ones, before drawing.

    Returns:
        The figure of each sample, shape (samples,).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rng = np.random.default_rng(SEED)
    samples = np.zeros((BOOTSTRAP_SAMPLES, *counts.shape), dtype=np.int64)
    for i, row in enumerate(counts):
        if not row.sum():
            continue
        weights = row.astype(np.float64)
        if more:
            others = len(row) - 1
            wrong = row.sum() - row[i]
            weights += more * (row / wrong if wrong else np.full(len(row), 1.0 / max(others, 1)))
            weights[i] = row[i] + more
        filled = np.flatnonzero(weights)
        samples[:, i, filled] = rng.multinomial(row.sum(), weights[filled] / weights.sum(), size=BOOTSTRAP_SAMPLES)
    return figure(samples)


def student(alpha: float, freedom: float) -> float:
    """Student's quantile that is exceeded with probability alpha.

    Args:
        alpha: in (0, 0.5).
        freedom: degrees of freedom, > 0.

    Returns:
        The quantile, in standard errors.

    Source: Student (1908), Biometrika 6, 1-25.
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1.0 - alpha))

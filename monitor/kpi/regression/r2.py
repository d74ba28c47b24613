"""Coefficient of determination."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.kpi.base import Kpi, KpiValue, no_pair, paired, undefined
from monitor.kpi.bounds import Mean
from monitor.kpi.intervals import Z95

FARTHEST: Final = 1e6  # from the value, at which an end is looked for
HALVINGS: Final = 30


def r2(frame: pl.DataFrame) -> KpiValue:
    """1 - (sum of squared errors) / (sum of squared deviations of the outcomes from their own mean).

    Args:
        frame: columns prediction and outcome, numbers, shape (rows,); rows without a finite difference are left out
            and counted.

    Returns:
        Share of variance, at most 1, with a normal 95 % interval by the delta method. 0 is as good as predicting the
        mean of these rows every time; a negative value is worse. None if no row is left, if the outcomes do not vary,
        or if a sum is too large for a double.

    Raises:
        InvalidError: a column is absent or does not hold numbers.

    Source: Draper and Smith, Applied Regression Analysis (1998); scikit-learn's r2_score.
    """
    prediction, outcome, left_out = paired(frame)
    if not len(outcome):
        return undefined(no_pair(left_out), left_out=left_out)
    with np.errstate(over="ignore", invalid="ignore"):
        squares, spread = (prediction - outcome) ** 2, (outcome - outcome.mean()) ** 2
        unexplained, whole = float(squares.mean()), float(spread.mean())
    if not np.isfinite(unexplained) or not np.isfinite(whole):
        return undefined("the squares are too large for a number", len(outcome), left_out=left_out)
    if outcome.min() == outcome.max() or not whole:
        return undefined("the outcomes do not vary, so there is nothing to explain", len(outcome), left_out=left_out)
    with np.errstate(over="ignore", invalid="ignore"):
        value = 1.0 - float(np.divide(unexplained, whole))
        influence = ((1.0 - value) * spread - squares) / whole
        error = float(influence.std(ddof=1)) / len(outcome) ** 0.5
    if not np.isfinite(value):
        return undefined("the outcomes vary too little against the errors", len(outcome), left_out=left_out)
    if not np.isfinite(error):
        return KpiValue(value, None, len(outcome), left_out=left_out)
    low, high, bounds = value - Z95 * error, min(1.0, value + Z95 * error), Explained(value, squares, spread)
    return KpiValue(value, None, len(outcome), low, high, left_out, bounds)


@dataclass(frozen=True, eq=False, slots=True)
class Explained:
    """The ends of R2: the values that the mean of (1 - R2) spread - squares does not rule out.

    Attributes:
        value: R2 of these rows.
        squares, spread: squared errors, and squared deviations of the outcomes from their mean, shape (rows,) each.

    Source: Fieller (1954), Journal of the Royal Statistical Society B 16, 175-185, for a ratio of means.
    """

    value: float
    squares: Floats
    spread: Floats

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        return self._end(alpha, side=-1), self._end(alpha, side=1)

    def _end(self, alpha: float, *, side: Literal[-1, 1]) -> float | None:
        inside, step = 0.0, 0.01
        while not self._ruled_out(self.value + side * step, alpha, side=side):
            inside, step = step, 2.0 * step
            if step > FARTHEST:
                return 1.0 if side > 0 else None
        for _ in range(HALVINGS):
            middle = (inside + step) / 2.0
            if self._ruled_out(self.value + side * middle, alpha, side=side):
                step = middle
            else:
                inside = middle
        return min(1.0, self.value + side * step)

    def _ruled_out(self, value: float, alpha: float, *, side: Literal[-1, 1]) -> bool:
        low, high = Mean((1.0 - value) * self.spread - self.squares)(alpha)
        return high < 0.0 if side > 0 else low > 0.0


KPI = Kpi(name="r2", unit="share of variance", higher_is_better=True, tasks=("regression",), compute=r2)

"""Coefficient of determination."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, no_pair, paired, undefined
from monitor.kpi.intervals import Z95


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
        half = Z95 * float(influence.std(ddof=1)) / len(outcome) ** 0.5
    if not np.isfinite(value):
        return undefined("the outcomes vary too little against the errors", len(outcome), left_out=left_out)
    if not np.isfinite(half):
        return KpiValue(value, None, len(outcome), left_out=left_out)
    return KpiValue(value, None, len(outcome), value - half, min(1.0, value + half), left_out)


KPI = Kpi(name="r2", unit="share of variance", higher_is_better=True, tasks=("regression",), compute=r2)

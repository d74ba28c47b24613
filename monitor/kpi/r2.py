"""Coefficient of determination."""

import numpy as np
import polars as pl

from monitor.kpi.base import Z95, Kpi, KpiValue, no_pair, paired, undefined


def r2(frame: pl.DataFrame) -> KpiValue:
    """1 - (sum of squared errors) / (sum of squared deviations of the outcomes from their own mean).

    Args:
        frame: columns prediction and outcome, numbers; rows without a finite prediction are left out and counted.

    Returns:
        At most 1; 0 is as good as always saying the mean of these very rows, negative is worse. The 95 % interval is
        normal, by the delta method. None without a row, or where the outcomes do not vary.

    Raises:
        InvalidError: a column holds no numbers.

    Source: Draper and Smith, Applied Regression Analysis (1998); scikit-learn's r2_score.
    """
    prediction, outcome, absent = paired(frame)
    if not len(outcome):
        return undefined(no_pair(absent), left_out=absent)
    with np.errstate(over="ignore", invalid="ignore"):
        squares, spread = (prediction - outcome) ** 2, (outcome - outcome.mean()) ** 2
        unexplained, whole = float(squares.mean()), float(spread.mean())
    if not np.isfinite(unexplained) or not np.isfinite(whole):
        return undefined("the squares are too large for a number", len(outcome), left_out=absent)
    if outcome.min() == outcome.max() or not whole:
        return undefined("the outcomes do not vary, so there is nothing to explain", len(outcome), left_out=absent)
    with np.errstate(over="ignore", invalid="ignore"):
        value = 1.0 - float(np.divide(unexplained, whole))
        influence = ((1.0 - value) * spread - squares) / whole
        half = Z95 * float(influence.std(ddof=1)) / len(outcome) ** 0.5
    if not np.isfinite(value):
        return undefined("the outcomes vary too little against the errors", len(outcome), left_out=absent)
    if not np.isfinite(half):
        return KpiValue(value, None, len(outcome), left_out=absent)
    return KpiValue(value, None, len(outcome), value - half, min(1.0, value + half), absent)


KPI = Kpi(name="r2", unit="share of variance", higher_is_better=True, tasks=("regression",), compute=r2)

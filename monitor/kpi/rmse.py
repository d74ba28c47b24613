"""Root mean squared error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Z95, Kpi, KpiValue, residuals, undefined


def rmse(frame: pl.DataFrame) -> KpiValue:
    """Square root of the mean of (prediction - outcome) squared over labelled rows with a finite prediction.

    Args:
        frame: columns prediction and outcome, numbers.

    Returns:
        Error >= 0 in the outcome's unit; the 95 % interval is the root of the normal interval of the mean square. No
        interval for one row, None for no row.

    Raises:
        InvalidError: a column holds no numbers.

    Source: Willmott and Matsuura (2005).
    """
    errors, absent = residuals(frame)
    if not len(errors):
        return undefined("no outcome has arrived" if not absent else "no labelled row has a finite prediction")
    squares = errors**2
    value = float(squares.mean())
    if len(errors) < 2:
        return KpiValue(value**0.5, None, 1)
    half = Z95 * float(squares.std(ddof=1)) / len(errors) ** 0.5
    return KpiValue(value**0.5, None, len(errors), max(0.0, value - half) ** 0.5, float(np.sqrt(value + half)))


KPI = Kpi(name="rmse", unit="outcome", higher_is_better=False, tasks=("regression",), compute=rmse)

"""Root mean squared error."""

import math

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, no_pair, paired
from monitor.kpi.bounds import Mapped
from monitor.kpi.intervals import mean_value


def rmse(frame: pl.DataFrame) -> KpiValue:
    """Square root of the mean of (prediction - outcome) squared over labelled rows with a finite prediction.

    Args:
        frame: columns prediction and outcome, numbers, shape (rows,); rows without a finite difference are left out
            and counted.

    Returns:
        Error >= 0 in the outcome's unit. The ends of the 95 % interval are the roots of those of the mean square's
        normal interval. No interval for one row. None if no row is left, or if the mean square is too large for a
        double.

    Raises:
        InvalidError: a column is absent or does not hold numbers.

    Source: Willmott and Matsuura (2005).
    """
    prediction, outcome, left_out = paired(frame)
    with np.errstate(over="ignore"):
        squares = (prediction - outcome) ** 2
    square = mean_value(squares, lowest=0.0, left_out=left_out, if_empty=no_pair(left_out))
    value, low, high = (None if x is None else x**0.5 for x in (square.value, square.low, square.high))
    bounds = Mapped(square.bounds, math.sqrt) if square.bounds is not None else None
    return KpiValue(value, square.reason, square.n, low, high, left_out, bounds)


KPI = Kpi(name="rmse", unit="outcome", higher_is_better=False, tasks=("regression",), compute=rmse)

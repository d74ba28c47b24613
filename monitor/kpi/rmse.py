"""Root mean squared error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value, no_pair, paired


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
    prediction, outcome, absent = paired(frame)
    with np.errstate(over="ignore"):
        squares = (prediction - outcome) ** 2
    found = mean_value(squares, lowest=0.0, left_out=absent, absent=no_pair(absent))
    value, low, high = (None if x is None else x**0.5 for x in (found.value, found.low, found.high))
    return KpiValue(value, found.reason, found.n, low, high, absent)


KPI = Kpi(name="rmse", unit="outcome", higher_is_better=False, tasks=("regression",), compute=rmse)

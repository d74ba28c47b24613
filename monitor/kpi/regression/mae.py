"""Mean absolute error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, no_pair, paired
from monitor.kpi.intervals import mean_value


def mae(frame: pl.DataFrame) -> KpiValue:
    """Mean of |prediction - outcome| over labelled rows with a finite prediction.

    Args:
        frame: columns prediction and outcome, numbers, shape (rows,); rows without a finite difference are left out
            and counted.

    Returns:
        Error >= 0 in the outcome's unit with a normal 95 % interval. No interval for one row. None if no row is left.

    Raises:
        InvalidError: a column is absent or does not hold numbers.

    Source: Willmott and Matsuura (2005).
    """
    prediction, outcome, left_out = paired(frame)
    return mean_value(np.abs(prediction - outcome), lowest=0.0, left_out=left_out, if_empty=no_pair(left_out))


KPI = Kpi(name="mae", unit="outcome", higher_is_better=False, tasks=("regression",), compute=mae)

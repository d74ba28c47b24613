"""Mean absolute error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value, no_pair, paired


def mae(frame: pl.DataFrame) -> KpiValue:
    """Mean of |prediction - outcome| over labelled rows with a finite prediction.

    Args:
        frame: columns prediction and outcome, numbers.

    Returns:
        Error >= 0 in the outcome's unit with a normal 95 % interval; no interval for one row, None for no row.

    Raises:
        InvalidError: a column holds no numbers.

    Source: Willmott and Matsuura (2005).
    """
    prediction, outcome, absent = paired(frame)
    return mean_value(np.abs(prediction - outcome), lowest=0.0, left_out=absent, absent=no_pair(absent))


KPI = Kpi(name="mae", unit="outcome", higher_is_better=False, tasks=("regression",), compute=mae)

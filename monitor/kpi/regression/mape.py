"""Mean absolute percentage error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, no_pair, paired
from monitor.kpi.intervals import mean_value


def mape(frame: pl.DataFrame) -> KpiValue:
    """Mean of |prediction - outcome| / |outcome| over the labelled rows whose outcome is not 0.

    Args:
        frame: columns prediction and outcome, numbers, shape (rows,). Rows without a finite difference, and rows whose
            outcome is 0 and the ratio therefore undefined, are left out and counted.

    Returns:
        Error >= 0 as a share of the outcome (0.1 is 10 %), not bounded by 1, with a normal 95 % interval. No interval
        for one row. None if no row is left.

    Raises:
        InvalidError: a column is absent or does not hold numbers.

    Source: Hyndman and Koehler (2006). scikit-learn divides by 2e-16 where the outcome is 0. Here such a row is left
    out, because one of them would dominate the mean.
    """
    prediction, outcome, left_out = paired(frame)
    divisible = outcome != 0
    with np.errstate(over="ignore"):
        ratio = np.abs(prediction[divisible] - outcome[divisible]) / np.abs(outcome[divisible])
    reason = "every outcome is 0, which nothing can be a share of" if len(outcome) else no_pair(left_out)
    return mean_value(ratio, lowest=0.0, left_out=left_out + int((~divisible).sum()), if_empty=reason)


KPI = Kpi(name="mape", unit="share of outcome", higher_is_better=False, tasks=("regression",), compute=mape)

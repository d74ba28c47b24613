"""Mean absolute percentage error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value, no_pair, paired


def mape(frame: pl.DataFrame) -> KpiValue:
    """Mean of |prediction - outcome| / |outcome| over the labelled rows whose outcome is not 0.

    Args:
        frame: columns prediction and outcome, numbers.

    Returns:
        Error >= 0 as a share of the outcome (0.1 is 10 %), not bounded by 1, with a normal 95 % interval; no interval
        for one row. Rows whose outcome is 0, where the ratio is undefined, and rows without a finite prediction are
        left out and counted. None without a row left.

    Raises:
        InvalidError: a column holds no numbers.

    Source: Hyndman and Koehler (2006). scikit-learn divides by 2e-16 where the outcome is 0; here such a row is left
    out, for one of them would be the whole mean.
    """
    prediction, outcome, absent = paired(frame)
    varies = outcome != 0
    with np.errstate(over="ignore"):
        ratio = np.abs(prediction[varies] - outcome[varies]) / np.abs(outcome[varies])
    left_out = absent + int((~varies).sum())
    reason = "every outcome is 0, which nothing can be a share of" if len(outcome) else no_pair(absent)
    return mean_value(ratio, lowest=0.0, left_out=left_out, absent=reason)


KPI = Kpi(name="mape", unit="share of outcome", higher_is_better=False, tasks=("regression",), compute=mape)

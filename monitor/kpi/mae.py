"""Mean absolute error."""

import numpy as np
import polars as pl

from monitor.kpi.base import Z95, Kpi, KpiValue, residuals, undefined


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
    errors, absent = residuals(frame)
    if not len(errors):
        return undefined("no outcome has arrived" if not absent else "no labelled row has a finite prediction")
    size = np.abs(errors)
    value = float(size.mean())
    if len(errors) < 2:
        return KpiValue(value, None, 1)
    half = Z95 * float(size.std(ddof=1)) / len(errors) ** 0.5
    return KpiValue(value, None, len(errors), max(0.0, value - half), value + half)


KPI = Kpi(name="mae", unit="outcome", higher_is_better=False, tasks=("regression",), compute=mae)

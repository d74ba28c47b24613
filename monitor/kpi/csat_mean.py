"""Customer satisfaction."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, column_mean


def csat_mean(frame: pl.DataFrame) -> KpiValue:
    """Mean of the ratings in the column the rule names.

    Args:
        frame: column `column`, numbers; rows without a finite one are left out and counted.

    Returns:
        Rating in the column's scale with a normal 95 % interval; no interval for one row, None for no number.

    Raises:
        InvalidError: the column holds no numbers.

    Source: the mean rating, as in customer satisfaction surveys; normal interval.
    """
    return column_mean(frame)


KPI = Kpi(
    name="csat_mean",
    unit="column",
    higher_is_better=True,
    tasks=TASKS,
    compute=csat_mean,
    reads=("column",),
    column_types=("number",),
)

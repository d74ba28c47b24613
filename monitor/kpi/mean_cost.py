"""Cost per answer."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, column_mean


def mean_cost(frame: pl.DataFrame) -> KpiValue:
    """Mean of the costs in the column the rule names.

    Args:
        frame: column `column`, numbers; rows without a finite one are left out and counted.

    Returns:
        Cost per row in the column's unit with a normal 95 % interval; no interval for one row, None for no number.

    Raises:
        InvalidError: the column holds no numbers.

    Source: the arithmetic mean; normal interval (central limit theorem).
    """
    return column_mean(frame)


KPI = Kpi(
    name="mean_cost",
    unit="column",
    higher_is_better=False,
    tasks=TASKS,
    compute=mean_cost,
    reads=("column",),
    column_types=("number",),
)

"""Share of failed calls."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, share_true


def error_rate(frame: pl.DataFrame) -> KpiValue:
    """Share of rows whose call failed: true in the column the rule names.

    Args:
        frame: column `column`, true or false; rows without an entry are left out and counted.

    Returns:
        Share 0..1 with its Wilson interval; None without an entry.

    Raises:
        InvalidError: the column is not boolean.

    Source: Wilson (1927) for the interval.
    """
    return share_true(frame)


KPI = Kpi(
    name="error_rate",
    unit="share",
    higher_is_better=False,
    tasks=TASKS,
    compute=error_rate,
    reads=("column",),
    column_types=("boolean",),
)

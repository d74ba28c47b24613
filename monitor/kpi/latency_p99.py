"""The 99th percentile of latency."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, percentile


def latency_p99(frame: pl.DataFrame) -> KpiValue:
    """The 99th percentile of the times in the column the rule names.

    Args:
        frame: column `column`, numbers; rows without a finite one are left out and counted.

    Returns:
        A time in the column's unit with the 95 % interval between order statistics; an end that so few rows do not
        reach is missing. None without a number.

    Raises:
        InvalidError: the column holds no numbers.

    Source: Hyndman and Fan (1996), type 7, as numpy.percentile.
    """
    return percentile(frame, 0.99)


KPI = Kpi(
    name="latency_p99",
    unit="column",
    higher_is_better=False,
    tasks=TASKS,
    compute=latency_p99,
    reads=("column",),
    column_types=("number",),
)

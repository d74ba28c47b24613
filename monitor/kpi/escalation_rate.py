"""Share of escalated requests."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, share_true


def escalation_rate(frame: pl.DataFrame) -> KpiValue:
    """Share of requests handed on to a person: true in the column the rule names.

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
    name="escalation_rate",
    unit="share",
    higher_is_better=False,
    tasks=TASKS,
    compute=escalation_rate,
    reads=("column",),
    column_types=("boolean",),
)

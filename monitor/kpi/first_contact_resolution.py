"""First-contact resolution."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, share_true


def first_contact_resolution(frame: pl.DataFrame) -> KpiValue:
    """Share of requests settled at the first contact: true in the column the rule names.

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
    name="first_contact_resolution",
    unit="share",
    higher_is_better=True,
    tasks=TASKS,
    compute=first_contact_resolution,
    reads=("column",),
    column_types=("boolean",),
)

"""Share of thumbs up."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, share_true


def thumbs_up_share(frame: pl.DataFrame) -> KpiValue:
    """Share of thumbs up (true) among the rows that were rated, in the column the rule names.

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
    name="thumbs_up_share",
    unit="share",
    higher_is_better=True,
    tasks=TASKS,
    compute=thumbs_up_share,
    reads=("column",),
    column_types=("boolean",),
)

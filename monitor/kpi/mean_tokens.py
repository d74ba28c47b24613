"""Tokens per answer."""

import polars as pl

from monitor.kpi.base import TASKS, Kpi, KpiValue, column_mean


def mean_tokens(frame: pl.DataFrame) -> KpiValue:
    """Mean of the token counts in the column the rule names.

    Args:
        frame: column `column`, numbers; rows without a finite one are left out and counted.

    Returns:
        Tokens per row >= 0 with a normal 95 % interval; no interval for one row, None for no number.

    Raises:
        InvalidError: the column holds no numbers.

    Source: the arithmetic mean; normal interval (central limit theorem).
    """
    return column_mean(frame, lowest=0.0)


KPI = Kpi(
    name="mean_tokens",
    unit="tokens",
    higher_is_better=False,
    tasks=TASKS,
    compute=mean_tokens,
    reads=("column",),
    column_types=("number",),
)

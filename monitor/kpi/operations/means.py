"""Means of a named column of numbers: one function, one entry per meaning of that column."""

from functools import partial
from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import NO_NUMBER, TASKS, Kpi, KpiValue, numbers
from monitor.kpi.intervals import mean_value


def column_mean(frame: pl.DataFrame, *, lowest: float = -np.inf) -> KpiValue:
    """Mean of the column that the rule names.

    Args:
        frame: `column`, numbers, shape (rows,); rows without a finite number are left out and counted.
        lowest: the smallest value that the mean can have, in the column's unit; the interval is cut there.

    Returns:
        Mean in the column's unit with a normal 95 % interval. No interval for one row. None if no row has a number.

    Raises:
        InvalidError: the column does not hold numbers.

    Source: the arithmetic mean; the central limit theorem for the interval.
    """
    values, left_out = numbers(frame)
    return mean_value(values, lowest=lowest, left_out=left_out, if_empty=NO_NUMBER)


def _kpi(name: str, unit: str, *, higher_is_better: bool, lowest: float = -np.inf) -> Kpi:
    return Kpi(
        name=name,
        unit=unit,
        higher_is_better=higher_is_better,
        tasks=TASKS,
        compute=partial(column_mean, lowest=lowest),
        reads=("column",),
        column_types=("number",),
    )


KPIS: Final = (
    _kpi("csat_mean", "column", higher_is_better=True),  # customers' ratings
    _kpi("mean_cost", "column", higher_is_better=False),  # cost of a row
    _kpi("mean_tokens", "tokens", higher_is_better=False, lowest=0.0),  # tokens of a row
)

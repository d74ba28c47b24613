"""Perplexity of the model's own answers."""

import math
from typing import Final

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value, numbers

LARGEST: Final = 700.0  # exp of more is no finite number


def perplexity(frame: pl.DataFrame) -> KpiValue:
    """exp(-mean) of the log-probabilities in the column the rule names.

    Args:
        frame: column `column`: for each row the mean natural log-probability per token of its answer, at most 0. Rows
            without one, or above 0, are left out and counted.

    Returns:
        Perplexity >= 1: the geometric mean over rows, each with the same weight whatever its length. The 95 % interval
        is exp of the normal interval of the mean; none for one row. None without a usable row.

    Raises:
        InvalidError: the column holds no numbers.

    Source: Jelinek et al. (1977).
    """
    values, absent = numbers(frame)
    usable = values[values <= 0.0]
    left_out = absent + len(values) - len(usable)
    reason = "no row has a finite log-probability of at most 0 in the column"
    found = mean_value(-usable, lowest=0.0, left_out=left_out, absent=reason)
    if found.value is not None and found.value > LARGEST:
        return KpiValue(None, "the log-probabilities are too low for a finite perplexity", found.n, left_out=left_out)
    ends = (found.value, found.low, found.high)
    value, low, high = (None if x is None or x > LARGEST else math.exp(x) for x in ends)
    return KpiValue(value, found.reason, found.n, low, high, left_out)


KPI = Kpi(
    name="perplexity",
    unit="perplexity",
    higher_is_better=False,
    tasks=("generation",),
    compute=perplexity,
    reads=("column",),
    column_types=("number",),
)

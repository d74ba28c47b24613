"""Perplexity of the model's own answers."""

import math
from typing import Final

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, numbers
from monitor.kpi.bounds import Mapped
from monitor.kpi.intervals import mean_value

MAX_MEAN_NATS: Final = 700.0  # exp of a larger number is not finite


def perplexity(frame: pl.DataFrame) -> KpiValue:
    """exp(-mean) of the log-probabilities in the column that the rule names.

    Args:
        frame: `column`, shape (rows,): the mean natural log-probability per token of each answer, at most 0. Rows
            without one, or with one above 0, are left out and counted.

    Returns:
        Perplexity >= 1: the geometric mean over rows, each with the same weight whatever its length. The ends of the
        95 % interval are exp of those of the mean's normal interval. No interval for one row. None if no row is left,
        or if the perplexity is too large for a double.

    Raises:
        InvalidError: the column does not hold numbers.

    Source: Jelinek et al. (1977).
    """
    values, missing = numbers(frame)
    usable = values[values <= 0.0]
    left_out = missing + len(values) - len(usable)
    reason = "no row has a finite log-probability of at most 0 in the column"
    found = mean_value(-usable, lowest=0.0, left_out=left_out, if_empty=reason)
    if found.value is not None and found.value > MAX_MEAN_NATS:
        return KpiValue(None, "the log-probabilities are too low for a finite perplexity", found.n, left_out=left_out)
    ends = (found.value, found.low, found.high)
    value, low, high = (None if x is None or x > MAX_MEAN_NATS else math.exp(x) for x in ends)
    bounds = Mapped(found.bounds, _exp) if found.bounds is not None else None
    return KpiValue(value, found.reason, found.n, low, high, left_out, bounds)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats <= MAX_MEAN_NATS else math.inf


KPI = Kpi(
    name="perplexity",
    unit="perplexity",
    higher_is_better=False,
    tasks=("generation",),
    compute=perplexity,
    reads=("column",),
    column_types=("number",),
)

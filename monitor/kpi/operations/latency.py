"""Percentiles of latency: one function, one entry per percentile."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.kpi.base import NO_NUMBER, TASKS, Kpi, KpiValue, numbers, undefined
from monitor.kpi.intervals import Z95

SHARES: Final = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}


def percentile(frame: pl.DataFrame, share: float) -> KpiValue:
    """A quantile of the column that the rule names, by linear interpolation.

    Args:
        frame: `column`, numbers, shape (rows,); rows without a finite number are left out and counted.
        share: the quantile, in (0, 1).

    Returns:
        A value in the column's unit, with the 95 % interval between order statistics. It assumes no shape of the
        distribution: its ranks are n share -+ 1.96 sqrt(n share (1 - share)), rounded up. An end is missing if there
        are too few rows to reach its rank: 300 rows do not bound their 99th percentile from above. None if no row has
        a number.

    Raises:
        InvalidError: the column does not hold numbers.

    Source: Hyndman and Fan (1996), type 7, as numpy.quantile; Conover, Practical Nonparametric Statistics (1999),
    section 3.2, for the interval.
    """
    values, left_out = numbers(frame)
    n = len(values)
    if not n:
        return undefined(NO_NUMBER, left_out=left_out)
    value = float(np.quantile(values, share))
    half = Z95 * (n * share * (1.0 - share)) ** 0.5
    below, above = int(np.ceil(n * share - half)), int(np.ceil(n * share + half))
    ordered = np.sort(values)
    low = min(value, float(ordered[below - 1])) if below >= 1 else None
    high = max(value, float(ordered[above - 1])) if above <= n else None
    return KpiValue(value, None, n, low, high, left_out, Quantile(ordered, share))


@dataclass(frozen=True, slots=True)
class Quantile:
    """The ends of a quantile: exact, for any distribution.

    Attributes:
        ordered: values in ascending order, shape (rows,).
        share: the quantile, in (0, 1).

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """

    ordered: Floats
    share: float

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        from scipy.stats import binom

        n = len(self.ordered)
        # The quantile lies below the k-th value where fewer than k rows lie below it, and above it where k rows do.
        below = int(binom.ppf(alpha, n, self.share))
        above = int(binom.isf(alpha, n, self.share))
        low = float(self.ordered[below - 1]) if below >= 1 else None
        return low, float(self.ordered[above]) if above < n else None


KPIS: Final = tuple(
    Kpi(
        name=name,
        unit="column",
        higher_is_better=False,
        tasks=TASKS,
        compute=partial(percentile, share=share),
        reads=("column",),
        column_types=("number",),
    )
    for name, share in SHARES.items()
)

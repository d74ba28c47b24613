"""The 95 % intervals that KPIs report. All of them assume independent rows."""

from typing import Final

import numpy as np

from core.arrays import Floats
from monitor.kpi.base import KpiValue, undefined
from monitor.kpi.bounds import Mean, Share

Z95: Final = 1.959963984540054


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share.

    Args:
        hits: rows that count, 0 <= hits <= n.
        n: rows, at least 1.

    Returns:
        Lower and upper end, shares in 0..1; exactly 0 without a hit, and exactly 1 without a miss.

    Source: Wilson (1927), Journal of the American Statistical Association 22, 209-212.
    """
    share = hits / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * float(np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n)))
    # Without a hit the lower end is 0, and without a miss the upper end is 1; the formula only comes near them.
    return max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half) if hits < n else 1.0


def share_value(hits: int, n: int, *, left_out: int = 0, if_empty: str) -> KpiValue:
    """A share with its Wilson interval.

    Args:
        hits: rows that count, 0 <= hits <= n.
        n: rows.
        left_out: rows that could not be used.
        if_empty: the reason to report if there is no row.

    Returns:
        Share 0..1; None if n is 0.

    Source: Wilson (1927) for the interval.
    """
    if not n:
        return undefined(if_empty, left_out=left_out)
    return KpiValue(hits / n, None, n, *wilson(hits, n), left_out=left_out, bounds=Share(hits, n))


def mean_value(
    values: Floats, *, lowest: float = -np.inf, highest: float = np.inf, left_out: int = 0, if_empty: str
) -> KpiValue:
    """A mean with its normal interval.

    Args:
        values: one finite number per row, shape (rows,).
        lowest, highest: the range of the mean, in the unit of the values; the interval is cut at its ends.
        left_out: rows that could not be used.
        if_empty: the reason to report if there is no value.

    Returns:
        Mean in the unit of the values. No interval for one value. None if there is no value, or if the mean is too
        large for a double.

    Source: the central limit theorem.
    """
    if not len(values):
        return undefined(if_empty, left_out=left_out)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(values.mean())
        spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    if not np.isfinite(value):
        return undefined("the mean is too large for a number", len(values), left_out=left_out)
    if not np.isfinite(spread):
        return KpiValue(value, None, len(values), left_out=left_out)
    half = Z95 * spread / len(values) ** 0.5
    low, high = max(lowest, value - half), min(highest, value + half)
    return KpiValue(value, None, len(values), low, high, left_out, Mean(values, lowest, highest))

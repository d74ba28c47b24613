"""Pearson's chi-squared statistic of homogeneity."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def chi2(reference: Counts, current: Counts) -> float:
    """Pearson's statistic of the two-row table of counts. Bins that are empty on both sides are left out.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Statistic >= 0, no unit. With independent rows and no drift its mean is `chi2_expected`, the degrees of freedom.
        Serial dependence makes it larger, which is why it decides nothing here.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Pearson (1900).
    """
    pair(reference, current)
    table = np.stack([reference.counts, current.counts]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(np.sum((table - expected) ** 2 / expected))


def chi2_expected(reference: Counts, current: Counts) -> float:
    """Mean of the statistic without drift, for independent rows: the degrees of freedom.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins, shape (bins,).

    Returns:
        Bins in use less one, no unit.

    Source: Pearson (1900).
    """
    return float(int(np.count_nonzero(reference.counts + current.counts)) - 1)


METHOD = Method(name="chi2", input="binned", unit="statistic", alarm="above", compute=chi2, expected=chi2_expected)

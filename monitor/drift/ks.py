"""Kolmogorov-Smirnov distance."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def ks(reference: Counts, current: Counts) -> float:
    """Largest difference of the two distribution functions at the bins' edges.

    Args:
        reference: counts per bin in ascending order, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Distance, 0..1, no unit; 0 if the shares are equal. At most the distance of the raw values, and equal to it if
        every value lies on an edge.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Kolmogorov (1933), Smirnov (1948).
    """
    p, q = pair(reference, current)
    return float(np.max(np.abs(np.cumsum(p) - np.cumsum(q))))


METHOD = Method(name="ks", input="ordered", unit="share", alarm="above", compute=ks)

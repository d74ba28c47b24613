"""Jensen-Shannon distance."""

import numpy as np
from numpy.typing import NDArray

from monitor.drift.base import Counts, Method, pair


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """Square root of the Jensen-Shannon divergence in base 2.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Distance, 0..1, no unit; 0 when the shares are equal, 1 when no bin is shared. Sampling alone makes it positive.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Lin (1991); Endres and Schindelin (2003) for the square root being a metric.
    """
    p, q = pair(reference, current)
    middle = (p + q) / 2.0
    return float(np.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2.0)))


def _divergence(p: NDArray[np.float64], middle: NDArray[np.float64]) -> float:
    filled = p > 0
    return float(np.sum(p[filled] * np.log2(p[filled] / middle[filled])))


METHOD = Method(name="jensen_shannon", input="binned", unit="distance", alarm="above", compute=jensen_shannon)

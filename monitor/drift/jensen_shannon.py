"""Jensen-Shannon distance."""

import numpy as np

from core.arrays import Floats
from monitor.drift.base import Counts, Method, pair


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """Square root of the Jensen-Shannon divergence in base 2.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Distance, 0..1, no unit; 0 if the shares are equal, 1 if no bin is shared. Sampling alone makes it positive.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Lin (1991); Endres and Schindelin (2003) for the square root being a metric.
    """
    p, q = pair(reference, current)
    middle = (p + q) / 2.0
    return float(np.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2.0)))


def _divergence(p: Floats, middle: Floats) -> float:
    filled = p > 0
    return float(np.sum(p[filled] * np.log2(p[filled] / middle[filled])))


METHOD = Method(name="jensen_shannon", input="binned", unit="distance", alarm="above", compute=jensen_shannon)

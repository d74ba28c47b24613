"""Hellinger distance."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def hellinger(reference: Counts, current: Counts) -> float:
    """Euclidean distance of the square roots of the shares, divided by the square root of two.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Distance, 0..1, no unit; 0 if the shares are equal, 1 if no bin is shared. Sampling alone makes it positive.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Hellinger (1909).
    """
    p, q = pair(reference, current)
    return float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2.0))


METHOD = Method(name="hellinger", input="binned", unit="distance", alarm="above", compute=hellinger)

"""Largest change of the share of one bin."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def l_infinity(reference: Counts, current: Counts) -> float:
    """Largest absolute difference of the share of one bin.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Share, 0..1; 0 if the shares are equal.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: the Chebyshev distance of the two vectors of shares.
    """
    p, q = pair(reference, current)
    return float(np.max(np.abs(p - q)))


METHOD = Method(name="l_infinity", input="binned", unit="share", alarm="above", compute=l_infinity)

"""Total variation distance."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def total_variation(reference: Counts, current: Counts) -> float:
    """Half the sum of absolute differences of shares: the share of rows that would have to change their bin.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins.

    Returns:
        Share, 0..1; 0 if the shares are equal, 1 if no bin is shared. Sampling alone makes it positive.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), section 4.1.
    """
    p, q = pair(reference, current)
    return float(np.abs(p - q).sum() / 2.0)


METHOD = Method(name="total_variation", input="binned", unit="share", alarm="above", compute=total_variation)

"""Energy distance in root reference standard deviations."""

import numpy as np

from core.errors import InsufficientDataError
from monitor.drift.base import Counts, Method, pair


def energy(reference: Counts, current: Counts) -> float:
    """Root of twice the integral of the squared difference of the distribution functions, over the standard deviation.

    Args:
        reference: counts per bin in ascending order, shape (bins,), with `positions` and `std`.
        current: counts on the same bins.

    Returns:
        Distance >= 0 in square roots of reference standard deviations. It grows with the root of a large shift, so a
        few extreme values weigh less than in the Wasserstein distance. Every row counts at the position of its bin.

    Raises:
        InsufficientDataError: either side has no observation, or the reference does not vary.

    Source: Székely and Rizzo (2013); scipy.stats.energy_distance. In one dimension it is Cramér's distance.
    """
    p, q = pair(reference, current)
    if reference.positions is None or not reference.std:
        raise InsufficientDataError(
            "the reference does not vary, or its values are too large to be squared: no standard deviation to divide by"
        )
    gaps = np.diff(reference.positions)
    return float(np.sqrt(2.0 * np.sum(np.cumsum(p - q)[:-1] ** 2 * gaps) / reference.std))


METHOD = Method(name="energy", input="ordered", unit="root reference std", alarm="above", compute=energy)

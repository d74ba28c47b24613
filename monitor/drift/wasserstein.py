"""Wasserstein distance in reference standard deviations."""

import numpy as np

from core.errors import InsufficientDataError
from monitor.drift.base import Counts, Method, pair


def wasserstein(reference: Counts, current: Counts) -> float:
    """First Wasserstein distance between the binned distributions, divided by the reference's standard deviation.

    Args:
        reference: counts per bin in ascending order, shape (bins,), with `positions` and `std`.
        current: counts on the same bins.

    Returns:
        Distance >= 0 in reference standard deviations. Every row counts at the position of its bin, so the error is at
        most the width of the widest bin.

    Raises:
        InsufficientDataError: either side has no observation, or the reference does not vary.

    Source: Vaserstein (1969). In one dimension it is the area between the distribution functions (Vallender 1974).
    """
    p, q = pair(reference, current)
    if reference.positions is None or not reference.std:
        raise InsufficientDataError(
            "the reference does not vary, or its values are too large to be squared: no standard deviation to divide by"
        )
    gaps = np.diff(reference.positions)
    return float(np.sum(np.abs(np.cumsum(p - q))[:-1] * gaps) / reference.std)


METHOD = Method(name="wasserstein", input="ordered", unit="reference std", alarm="above", compute=wasserstein)

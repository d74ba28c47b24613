"""Population stability index."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def psi(reference: Counts, current: Counts, *, pseudocount: float = 0.5) -> float:
    """Population stability index: the symmetrised Kullback-Leibler divergence.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0; the edges come from the reference.
        current: counts per bin, shape (bins,), counted with the same edges.
        pseudocount: added to every bin before shares are taken; unit: observations.

    Returns:
        Divergence in nats, >= 0; 0 if the counts are equal. Without drift the mean is about `psi_expected`, so a fixed
        threshold such as 0.1 has no meaning without the sample sizes.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: symmetrised KL after Jeffreys (1946).
    """
    pair(reference, current)
    p = reference.counts + pseudocount
    q = current.counts + pseudocount
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def psi_expected(reference: Counts, current: Counts) -> float:
    """Mean of the index without drift, to first order, for independent rows.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0.
        current: counts on the same bins, shape (bins,).

    Returns:
        (bins in use - 1) (1/n_reference + 1/n_current), in nats.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Yurdakul and Naranjo (2020).
    """
    pair(reference, current)
    used = int(np.count_nonzero(reference.counts + current.counts))
    return (used - 1) * (1.0 / reference.n + 1.0 / current.n)


METHOD = Method(name="psi", input="binned", unit="nats", alarm="above", compute=psi, expected=psi_expected)

"""Population stability index minus its mean without drift."""

from monitor.drift.base import Counts, Method
from monitor.drift.psi import psi, psi_expected


def psi_corrected(reference: Counts, current: Counts) -> float:
    """The index minus what sampling alone contributes, so that windows of different sizes are comparable.

    Args:
        reference: counts per bin, shape (bins,), integers >= 0; the edges come from the reference.
        current: counts per bin, shape (bins,), counted with the same edges.

    Returns:
        Divergence in nats, >= 0; 0 if the index does not exceed its mean without drift. The correction is of first
        order: if bins hold a few rows each, the remainder scatters about the true value.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Yurdakul and Naranjo (2020) for the mean of the index without drift.
    """
    return max(psi(reference, current) - psi_expected(reference, current), 0.0)


METHOD = Method(name="psi_corrected", input="binned", unit="nats", alarm="above", compute=psi_corrected)

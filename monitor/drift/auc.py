"""Area under the ROC curve of one column: its distance from one half."""

import numpy as np

from monitor.drift.base import Counts, Method, pair


def auc(reference: Counts, current: Counts) -> float:
    """|AUC - 1/2|, where AUC is the chance that a current value exceeds a reference value; ties count one half.

    Args:
        reference: counts per bin in ascending order, shape (bins,), integers >= 0.
        current: counts on the same bins, shape (bins,); values of one bin are ties.

    Returns:
        Share, 0..0.5; 0 if neither side tends to be larger, 0.5 if the two do not overlap. It measures a change of
        location only: a wider spread around the same median leaves it at 0. Sampling alone makes it positive.

    Raises:
        InsufficientDataError: either side has no observation.

    Source: Mann and Whitney (1947), U / (n_reference n_current) - 1/2; Hanley and McNeil (1982).
    """
    p, q = pair(reference, current)
    below = np.cumsum(p) - p / 2.0
    return float(abs(q @ below - 0.5))


METHOD = Method(name="auc", input="ordered", unit="share", alarm="above", compute=auc)

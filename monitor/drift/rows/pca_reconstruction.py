"""How well the reference's principal components rebuild the window's rows."""

from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows.base import RowMethod

KEPT_VARIANCE: Final = 0.65


def pca_reconstruction(reference: Floats, window: Floats, seed: int) -> float:
    """Mean distance of the window's rows from their reconstruction, over that of reference rows not fitted on.

    Args:
        reference: shape (rows, features), finite; components are fitted on a random half of it.
        window: shape (rows, features), the same features.
        seed: of the split.

    Returns:
        Ratio >= 0, about 1 without drift; above 1 the columns no longer hang together as they did. The components kept
        are the fewest that hold 65 % of the variance.

    Raises:
        InsufficientDataError: no window row, fewer than four reference rows, or components that rebuild the reference
            without error, which is the case for a single feature.

    Source: Jackson and Mudholkar (1979), the Q statistic; as a drift measure in NannyML, which takes 65 % too.
    """
    if len(reference) < 4 or not len(window):
        raise InsufficientDataError("fewer than four reference rows, or no window row", rows=len(window))
    order = np.random.default_rng(seed).permutation(len(reference))
    fitted, rest = reference[order[: len(order) // 2]], reference[order[len(order) // 2 :]]
    middle = fitted.mean(axis=0)
    _, spread, axes = np.linalg.svd(fitted - middle, full_matrices=False)
    held = np.cumsum(spread**2)
    kept = axes[: int(np.searchsorted(held, KEPT_VARIANCE * held[-1])) + 1] if len(held) and held[-1] else axes[:0]

    def error(rows: Floats) -> float:
        centred = rows - middle
        return float(np.linalg.norm(centred - centred @ kept.T @ kept, axis=1).mean())

    usual = error(rest)
    if usual < 1e-9:
        raise InsufficientDataError("the reference is rebuilt without error; there is no error to compare with")
    return error(window) / usual


METHOD = RowMethod(name="pca_reconstruction", unit="ratio", unchanged=1.0, compute=pca_reconstruction)

"""How well the principal components of the reference reconstruct the rows of the window."""

from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows.base import RowMethod

KEPT_VARIANCE: Final = 0.65


def pca_reconstruction(reference: Floats, window: Floats, seed: int) -> float:
    """Mean reconstruction error of the window's rows, over that of reference rows outside the fit.

    Args:
        reference: shape (rows, features), finite; the components are fitted on a random half of the rows.
        window: shape (rows, features), the same features.
        seed: of the split.

    Returns:
        Ratio >= 0, about 1 without drift; above 1 if the columns are no longer correlated as in the reference. The fit
        keeps the fewest components that explain 65 % of the variance.

    Raises:
        InsufficientDataError: no window row, fewer than four reference rows, or components that reconstruct the
            reference without error, as for a single feature.

    Source: Jackson and Mudholkar (1979), the Q statistic; NannyML uses it for drift, with 65 % too.
    """
    if len(reference) < 4 or not len(window):
        raise InsufficientDataError("fewer than four reference rows, or no window row", rows=len(window))
    order = np.random.default_rng(seed).permutation(len(reference))
    fitted, rest = reference[order[: len(order) // 2]], reference[order[len(order) // 2 :]]
    mean = fitted.mean(axis=0)
    _, spread, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    explained = np.cumsum(spread**2)
    enough = int(np.searchsorted(explained, KEPT_VARIANCE * explained[-1])) + 1 if len(explained) else 0
    kept = axes[:enough] if enough and explained[-1] else axes[:0]

    def error(rows: Floats) -> float:
        centred = rows - mean
        return float(np.linalg.norm(centred - centred @ kept.T @ kept, axis=1).mean())

    usual = error(rest)
    if usual < 1e-9:
        raise InsufficientDataError("the reference is rebuilt without error; there is no error to compare with")
    return error(window) / usual


METHOD = RowMethod(name="pca_reconstruction", unit="ratio", unchanged=1.0, compute=pca_reconstruction)

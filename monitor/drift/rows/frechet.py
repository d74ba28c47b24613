"""Fréchet distance of two normal distributions, one fitted to the rows of each side."""

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows.base import RowMethod


def frechet(reference: Floats, window: Floats, seed: int) -> float:  # noqa: ARG001 - the signature of a row method
    """Distance of means and covariances: |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).

    Args:
        reference: shape (rows, features), finite.
        window: shape (rows, features), the same features.
        seed: not used.

    Returns:
        Squared distance >= 0 in squared reference standard deviations, the unit of the features; 0 for equal means and
        covariances. Sampling alone makes it positive, the more so the fewer rows there are per feature.

    Raises:
        InsufficientDataError: fewer than two rows on one side.

    Source: Fréchet (1957); Dowson and Landau (1982).
    """
    if min(len(reference), len(window)) < 2:
        raise InsufficientDataError("fewer than two rows on one side; a covariance is undefined", rows=len(window))
    gap = reference.mean(axis=0) - window.mean(axis=0)
    before, after = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (reference, window))
    # The product has the eigenvalues of a positive semidefinite matrix: C1^(1/2) C2 C1^(1/2).
    values, vectors = np.linalg.eigh(before)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ after @ root), 0.0, None)).sum()
    return float(max(gap @ gap + np.trace(before) + np.trace(after) - 2.0 * shared, 0.0))


METHOD = RowMethod(name="frechet", unit="squared distance", unchanged=0.0, compute=frechet)

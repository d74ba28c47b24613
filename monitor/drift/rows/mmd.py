"""Maximum mean discrepancy, averaged over blocks of rows."""

from itertools import pairwise
from typing import Final

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.drift.rows.base import RowMethod

BLOCK: Final = 250  # rows of each side


def mmd(reference: Floats, window: Floats, seed: int) -> float:
    """Unbiased squared maximum mean discrepancy with a Gaussian kernel, averaged over blocks of up to 250 rows a side.

    Args:
        reference: shape (rows, features), finite.
        window: shape (rows, features), the same features. Rows beyond the shorter side are not used.
        seed: of the shuffling.

    Returns:
        Squared distance of kernel means, at most 2, no unit; 0 on average without drift, so it may be negative. The
        kernel is exp(-d / m), where d is a squared distance and m the median of d among the rows of the first block of
        both sides. Memory does not grow with the rows; time grows linearly.

    Raises:
        InsufficientDataError: fewer than two rows on one side, or all rows equal.

    Source: Gretton et al. (2012); Zaremba, Gretton and Blaschko (2013) for blocks.
    """
    n = min(len(reference), len(window))
    if n < 2:
        raise InsufficientDataError("fewer than two rows on one side; within-side distances are undefined", rows=n)
    rng = np.random.default_rng(seed)
    x, y = reference[rng.permutation(len(reference))[:n]], window[rng.permutation(len(window))[:n]]
    first = np.concatenate([x[:BLOCK], y[:BLOCK]])
    distances = _squared(first, first)[np.triu_indices(len(first), 1)]
    width = float(np.median(distances)) or float(distances.mean())
    if not width:
        raise InsufficientDataError("all rows are equal on both sides; there is no distance to compare", rows=n)
    # Blocks of nearly equal size, each of at least two rows.
    edges = np.linspace(0, n, max(1, round(n / BLOCK)) + 1).astype(int)
    return float(np.mean([_unbiased(x[a:b], y[a:b], width) for a, b in pairwise(edges)]))


def _unbiased(x: Floats, y: Floats, width: float) -> float:
    n = len(x)
    within = sum((np.exp(-_squared(side, side) / width).sum() - n) / (n * (n - 1)) for side in (x, y))
    return float(within - 2.0 * np.exp(-_squared(x, y) / width).mean())


def _squared(a: Floats, b: Floats) -> Floats:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2.0 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


METHOD = RowMethod(name="mmd", unit="squared distance", unchanged=0.0, compute=mmd)

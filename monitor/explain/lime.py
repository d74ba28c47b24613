"""A second opinion: a weighted ridge regression on inputs with parts left out at random (LIME).

The `lime` package, unkept since 2021, does the same for texts with 5,000 samples and brings plots and image tools with
it; this is the regression alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats

SAMPLES: Final = 500
WIDTH: Final = 25.0  # of the kernel; distances are cosine distances from the whole input, times 100, as in `lime`
ALPHA: Final = 1.0  # of the ridge


@dataclass(frozen=True)
class Lime:
    """`values`: shape (parts,), in the unit of the output; `fit`: weighted R² of the local line, at most 1."""

    values: Floats
    intercept: float
    fit: float | None
    samples: int


def lime_weights(
    parts: int, ask: Callable[[NDArray[np.bool_]], Floats], *, samples: int = SAMPLES, seed: int = 0
) -> Lime:
    """What each part adds to an output, by a line through inputs that lack some of them.

    Args:
        parts: of the input, at least 1.
        ask: masks of the parts that are there, shape (n, parts) -> outputs, shape (n,).
        samples: masks, the one with all parts included. How many parts a mask lacks is drawn evenly from 1 to all.
        seed: of the masks.

    Returns:
        The coefficients. `fit` is None where the output does not change.

    Source: Ribeiro, Singh and Guestrin (2016), "Why should I trust you?"; kernel and ridge as in `lime` 0.2.
    """
    draw = np.random.default_rng(seed)
    masks = np.ones((max(2, samples), parts), dtype=bool)
    for mask in masks[1:]:
        mask[draw.choice(parts, size=int(draw.integers(1, parts + 1)), replace=False)] = False
    outputs = np.asarray(ask(masks), dtype=np.float64)
    shares = masks.mean(axis=1)
    distances = 100.0 * (1.0 - np.sqrt(shares))  # cosine of a mask of k ones among n with all ones is sqrt(k/n)
    weights = np.sqrt(np.exp(-((distances / WIDTH) ** 2)))
    there = masks.astype(np.float64)
    centre, mean = np.average(there, axis=0, weights=weights), float(np.average(outputs, weights=weights))
    x, y = there - centre, outputs - mean
    values = np.linalg.solve(x.T @ (x * weights[:, None]) + ALPHA * np.eye(parts), x.T @ (weights * y))
    total = float(weights @ y**2)
    fit = 1.0 - float(weights @ (y - x @ values) ** 2) / total if total > 1e-12 else None
    return Lime(values, mean - float(centre @ values), fit, len(masks))

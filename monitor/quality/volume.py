"""How many rows came, for windows of time."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from monitor.quality.base import Rise

NAME: Final = "volume"
FEWEST_BLOCKS: Final = 5
FACTOR: Final = 1.5  # a change by less than this factor is named but does not alarm


def volume(reference: Sequence[int], window: Sequence[int]) -> Rise:
    """Rows per block of time, fewer or more than in the reference.

    Student's t of the logarithm of (rows + 1) of whole blocks, the reference's spread on its degrees of freedom:
    (mean of window - mean of reference) / (s sqrt(1/L + 1/R)), two-sided.

    Args:
        reference: rows of each whole block (day, or a shorter window), at least 5 blocks.
        window: rows of each block of the window.

    Source: prediction interval for the mean of further observations, Hahn and Meeker (1991), section 4.8.
    """
    from scipy.stats import t

    n0, n1 = sum(reference), sum(window)
    value, before = (float(np.mean(x)) if len(x) else None for x in (window, reference))
    if len(reference) < FEWEST_BLOCKS or not window:
        reason = f"{len(reference)} whole blocks in the reference; at least {FEWEST_BLOCKS} are needed"
        return Rise(value, before, None, reason if window else "the window has no block", n1, n0)
    first, second = np.log1p(reference), np.log1p(window)
    # Poisson counts vary by 1 / sqrt(rows) on this scale: blocks that happen to agree are not surer than that.
    spread = max(float(first.std(ddof=1)), 1.0 / np.sqrt(max(float(np.mean(reference)), 1.0)))
    at = abs(float(second.mean() - first.mean())) / (spread * np.sqrt(1.0 / len(window) + 1.0 / len(reference)))
    return Rise(value, before, float(2.0 * t.sf(at, len(reference) - 1)), None, n1, n0, spread)

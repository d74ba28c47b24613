"""The 95 % interval of a fairness metric, by a bootstrap within groups."""

from collections.abc import Callable
from typing import Final

import numpy as np

from core.arrays import Floats, Ints

BOOTSTRAP_SAMPLES: Final = 300
MIN_DEFINED: Final = 0.9  # share of the samples in which the metric must be defined
SEED: Final = 20_240_101


def bootstrap_interval(counts: Ints, metric: Callable[[Ints], Floats]) -> tuple[float, float] | None:
    """The 2.5 % and 97.5 % quantiles over 300 seeded bootstrap samples of each group's rows.

    Args:
        counts: rows per group and cell, shape (groups, ...); every group has at least one row.
        metric: reads counts of shape (samples, groups, ...) and returns one value per sample, nan if undefined.

    Returns:
        Lower and upper end in the metric's unit; None if the metric is undefined in more than a tenth of the samples.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rng = np.random.default_rng(SEED)
    samples = np.stack(
        [
            rng.multinomial(row.sum(), row.ravel() / row.sum(), size=BOOTSTRAP_SAMPLES).reshape(-1, *row.shape)
            for row in counts
        ],
        axis=1,
    )
    values = metric(samples.astype(np.int64))
    values = values[np.isfinite(values)]
    if len(values) < MIN_DEFINED * BOOTSTRAP_SAMPLES:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)

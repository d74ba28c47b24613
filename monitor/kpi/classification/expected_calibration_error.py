"""Expected calibration error of the stated confidence."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.bounds import SEED
from monitor.kpi.scores import confidence

BINS: Final = 10
SIMULATIONS: Final = 300  # of the sampling errors of the bins, for the interval that is shown
MAX_SIMULATIONS: Final = 200_000  # for an interval at a level below 0.05


def expected_calibration_error(frame: pl.DataFrame) -> KpiValue:
    """Mean over rows of |share of right answers - mean confidence| in the row's bin; ten bins of equal width.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Share 0..1 with a 95 % interval. Sampling alone makes the value positive, the more so the fewer rows a bin
        holds. The interval covers that: half its width is the 95th percentile, over 300 seeded simulations, of the
        largest possible sum of the sampling errors of all bins. It is therefore wider than necessary, and reaches 0
        for a calibrated model. Works for any number of classes. None if a score is not a probability, and if a
        positive class is declared among more than two classes.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

    Source: Naeini, Cooper and Hauskrecht (2015); Guo et al. (2017). Bins are closed on the right, as in both papers.
    """
    graded = confidence(frame)
    if isinstance(graded, KpiValue):
        return graded
    n = len(graded.score)
    bins = np.clip(np.ceil(graded.score * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    right = np.bincount(bins, weights=graded.true, minlength=BINS)
    stated = np.bincount(bins, weights=graded.score, minlength=BINS)
    value = float(np.abs(right - stated).sum() / n)
    # One right and one wrong row are added to each bin: a bin without a wrong answer has a sampling error too.
    smoothed = (right + 1.0) / (rows + 2.0)
    errors = np.sqrt(rows * smoothed * (1.0 - smoothed)) / n
    bounds = LargestError(value, errors)
    low, high = bounds(0.05)
    return KpiValue(value, None, n, low, high, graded.left_out, bounds)


@dataclass(frozen=True, slots=True)
class LargestError:
    """The value -+ a quantile of the largest possible sum of the sampling errors of all bins.

    Attributes:
        value: the error that was found.
        errors: standard error of each bin's share of the value, shape (bins,).
    """

    value: float
    errors: Floats

    def __call__(self, alpha: float) -> tuple[float, float]:
        draws = SIMULATIONS if alpha >= 0.05 else int(min(MAX_SIMULATIONS, 20.0 / alpha))
        simulated = np.abs(np.random.default_rng(SEED).normal(size=(draws, BINS))) @ self.errors
        half = float(np.quantile(simulated, 1.0 - alpha))
        return max(0.0, self.value - half), min(1.0, self.value + half)


KPI = Kpi(
    name="expected_calibration_error",
    unit="share",
    higher_is_better=False,
    tasks=("classification",),
    compute=expected_calibration_error,
    reads=("prediction", "outcome", "score"),
)

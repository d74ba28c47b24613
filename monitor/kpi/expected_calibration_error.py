"""Expected calibration error of the stated confidence."""

from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import REDRAWS, SEED, Kpi, KpiValue
from monitor.kpi.scores import confidence

BINS: Final = 10


def expected_calibration_error(frame: pl.DataFrame) -> KpiValue:
    """Mean over rows of |share of right answers - mean confidence| of the row's bin; ten bins of equal width.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive where the spec declares it.

    Returns:
        Share 0..1; sampling alone makes it positive, the more so the fewer rows a bin holds. The 95 % interval covers
        that: half its width is the 95th percentile, over 300 seeded redraws, of what the sampling errors of all bins
        add up to at most, so it is wider than it had to be and reaches 0 for a calibrated model. Any number of classes.
        None where a score is no probability, and with a declared positive class among more than two.

    Raises:
        InvalidError: the score holds no numbers.

    Source: Naeini, Cooper and Hauskrecht (2015); Guo et al. (2017). Bins are closed on the right, as in theirs.
    """
    graded = confidence(frame)
    if isinstance(graded, KpiValue):
        return graded
    n = len(graded.score)
    at = np.clip(np.ceil(graded.score * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = np.bincount(at, minlength=BINS)
    right = np.bincount(at, weights=graded.true, minlength=BINS)
    stated = np.bincount(at, weights=graded.score, minlength=BINS)
    value = float(np.abs(right - stated).sum() / n)
    # One right and one wrong row more per bin: a bin without a wrong answer is not free of sampling error.
    smoothed = (right + 1.0) / (rows + 2.0)
    errors = np.sqrt(rows * smoothed * (1.0 - smoothed)) / n
    drawn = np.abs(np.random.default_rng(SEED).normal(size=(REDRAWS, BINS))) @ errors
    half = float(np.quantile(drawn, 0.95))
    return KpiValue(value, None, n, max(0.0, value - half), min(1.0, value + half), graded.left_out)


KPI = Kpi(
    name="expected_calibration_error",
    unit="share",
    higher_is_better=False,
    tasks=("classification",),
    compute=expected_calibration_error,
    reads=("prediction", "outcome", "score"),
)

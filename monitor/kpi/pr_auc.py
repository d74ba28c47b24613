"""Area under the precision-recall curve."""

import numpy as np
import polars as pl

from monitor.kpi.base import Z95, Kpi, KpiValue, undefined
from monitor.kpi.scores import positive_class


def pr_auc(frame: pl.DataFrame) -> KpiValue:
    """Average precision: mean over the positive rows of the precision at their score, without interpolation.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive, which has to be declared: unlike
            the area under the ROC curve this one depends on which class is positive.

    Returns:
        Share 0..1; the share of positive rows without any order. The 95 % interval is normal on the logit scale; none
        at exactly 1. None without a positive outcome or without a declared positive class.

    Raises:
        InvalidError: the score holds no numbers.

    Source: scikit-learn's average_precision_score; Boyd, Eng and Page (2013) for the interval.
    """
    graded = positive_class(frame, probability=False, symmetric=False)
    if isinstance(graded, KpiValue):
        return graded
    n, positives = len(graded.score), int(graded.true.sum())
    if not positives:
        return undefined("no row has the positive outcome", n, left_out=graded.left_out)
    # One step per distinct score, from the highest down.
    _, at = np.unique(-graded.score, return_inverse=True)
    hits = np.bincount(at, weights=graded.true)
    precision = np.cumsum(hits) / np.cumsum(np.bincount(at))
    value = float(np.sum(hits * precision) / positives)
    if value >= 1.0:
        return KpiValue(value, None, n, left_out=graded.left_out)
    logit, half = np.log(value / (1.0 - value)), Z95 / (positives * value * (1.0 - value)) ** 0.5
    low, high = (float(1.0 / (1.0 + np.exp(-x))) for x in (logit - half, logit + half))
    return KpiValue(value, None, n, low, high, graded.left_out)


KPI = Kpi(
    name="pr_auc",
    unit="share",
    higher_is_better=True,
    tasks=("classification",),
    compute=pr_auc,
    reads=("prediction", "outcome", "score"),
)

"""Area under the precision-recall curve."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, undefined
from monitor.kpi.bounds import AroundLogit
from monitor.kpi.intervals import Z95
from monitor.kpi.scores import positive_class


def pr_auc(frame: pl.DataFrame) -> KpiValue:
    """Average precision: mean over the positive rows of the precision at their score, without interpolation.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive, shape (rows,). The spec has to
            declare the positive class because, unlike the area under the ROC curve, this area depends on it.

    Returns:
        Share 0..1 with a 95 % interval, normal on the logit scale; no interval at exactly 1. Without any order among
        the scores it is the share of positive rows. None if no row has the positive outcome, or if no positive class
        is declared.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

    Source: scikit-learn's average_precision_score; Boyd, Eng and Page (2013) for the interval.
    """
    graded = positive_class(frame, probability=False, symmetric=False)
    if isinstance(graded, KpiValue):
        return graded
    n, positives = len(graded.score), int(graded.true.sum())
    if not positives:
        return undefined("no row has the positive outcome", n, left_out=graded.left_out)
    # One step per distinct score, from the highest down.
    _, step = np.unique(-graded.score, return_inverse=True)
    hits = np.bincount(step, weights=graded.true)
    precision = np.cumsum(hits) / np.cumsum(np.bincount(step))
    value = float(np.sum(hits * precision) / positives)
    if value >= 1.0:
        return KpiValue(value, None, n, left_out=graded.left_out)
    logit, error = np.log(value / (1.0 - value)), 1.0 / (positives * value * (1.0 - value)) ** 0.5
    low, high = (float(1.0 / (1.0 + np.exp(-x))) for x in (logit - Z95 * error, logit + Z95 * error))
    bounds = AroundLogit(value, error, positives - 1) if positives > 1 else None
    return KpiValue(value, None, n, low, high, graded.left_out, bounds)


KPI = Kpi(
    name="pr_auc",
    unit="share",
    higher_is_better=True,
    tasks=("classification",),
    compute=pr_auc,
    reads=("prediction", "outcome", "score"),
)

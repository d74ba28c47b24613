"""Area under the ROC curve."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.scores import area, positive_class


def roc_auc(frame: pl.DataFrame) -> KpiValue:
    """Chance that a row of the positive class scores above one of the other class; ties count one half.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive where the spec declares it.

    Returns:
        Share 0..1, 0.5 without any order, with DeLong's 95 % interval. With two classes and a score that is the
        probability of the predicted one, both classes give the same value. None with one class of outcome, or with
        more than two classes and no declared positive: one-vs-rest needs the probability of every class. With a
        declared positive it is that class against the rest.

    Raises:
        InvalidError: the score holds no numbers.

    Source: Hanley and McNeil (1982); DeLong, DeLong and Clarke-Pearson (1988) for the interval.
    """
    graded = positive_class(frame, probability=False, symmetric=True)
    if isinstance(graded, KpiValue):
        return graded
    return area(graded, ("has the positive outcome", "has another outcome"))


KPI = Kpi(
    name="roc_auc",
    unit="share",
    higher_is_better=True,
    tasks=("classification",),
    compute=roc_auc,
    reads=("prediction", "outcome", "score"),
)

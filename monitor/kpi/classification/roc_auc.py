"""Area under the ROC curve."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.scores import area, positive_class


def roc_auc(frame: pl.DataFrame) -> KpiValue:
    """Chance that a row of the positive class has a higher score than another row; ties count one half.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Share 0..1 with DeLong's 95 % interval; 0.5 without any order among the scores. If there are two classes and
        the score is the probability of the predicted one, both classes give the same value. A declared positive is
        compared with the rest. None if only one class occurs as outcome, and if there are more than two classes
        without a declared positive: one-vs-rest needs the probability of every class.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

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

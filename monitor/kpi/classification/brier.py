"""Brier score."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.intervals import mean_value
from monitor.kpi.scores import positive_class


def brier(frame: pl.DataFrame) -> KpiValue:
    """Mean squared difference between the probability of the positive class and the outcome as 1 or 0.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Squared error 0..1 with a normal 95 % interval; 0 if every row is certain and right. Both of two classes give
        the same value; Brier's own sum over both is twice as large. None if there are more than two classes and no
        declared positive, or if a score is not a probability.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

    Source: Brier (1950); scikit-learn's brier_score_loss.
    """
    graded = positive_class(frame, probability=True, symmetric=True)
    if isinstance(graded, KpiValue):
        return graded
    squares = (graded.score - graded.true) ** 2
    return mean_value(squares, lowest=0.0, highest=1.0, left_out=graded.left_out, if_empty="no row has a score")


KPI = Kpi(
    name="brier",
    unit="squared error",
    higher_is_better=False,
    tasks=("classification",),
    compute=brier,
    reads=("prediction", "outcome", "score"),
)

"""Brier score."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value
from monitor.kpi.scores import positive_class


def brier(frame: pl.DataFrame) -> KpiValue:
    """Mean squared difference between the probability of the positive class and 1 or 0, as it came true or not.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive where the spec declares it.

    Returns:
        Score 0..1, 0 when certain and right, with a normal 95 % interval. The same for both of two classes (Brier's own
        sum over both is twice this). None with more than two classes and no declared positive, and where a score is
        no probability.

    Raises:
        InvalidError: the score holds no numbers.

    Source: Brier (1950); scikit-learn's brier_score_loss.
    """
    graded = positive_class(frame, probability=True, symmetric=True)
    if isinstance(graded, KpiValue):
        return graded
    squares = (graded.score - graded.true) ** 2
    return mean_value(squares, lowest=0.0, highest=1.0, left_out=graded.left_out, absent="no row has a score")


KPI = Kpi(
    name="brier",
    unit="squared error",
    higher_is_better=False,
    tasks=("classification",),
    compute=brier,
    reads=("prediction", "outcome", "score"),
)

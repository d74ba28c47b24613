"""How well the score separates right answers from wrong ones."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.scores import area, confidence


def confidence_auc(frame: pl.DataFrame) -> KpiValue:
    """Chance that a right answer has a higher confidence than a wrong one; ties count one half.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Share 0..1 with DeLong's 95 % interval; 0.5 if the confidence carries no information. Works for any number of
        classes. None if all answers are right or all are wrong, and if a positive class is declared among more than
        two classes.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

    Source: Hendrycks and Gimpel (2017), the AUROC of misclassification detection.
    """
    graded = confidence(frame)
    return graded if isinstance(graded, KpiValue) else area(graded, ("is right", "is wrong"))


KPI = Kpi(
    name="confidence_auc",
    unit="share",
    higher_is_better=True,
    tasks=("classification",),
    compute=confidence_auc,
    reads=("prediction", "outcome", "score"),
)

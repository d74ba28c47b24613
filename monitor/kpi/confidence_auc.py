"""How well the score tells right answers from wrong ones."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.scores import area, confidence


def confidence_auc(frame: pl.DataFrame) -> KpiValue:
    """Chance that a right answer carries a higher confidence than a wrong one; ties count one half.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive where the spec declares it.

    Returns:
        Share 0..1, 0.5 when the confidence says nothing, with DeLong's 95 % interval. Any number of classes. None when
        all answers are right or all wrong, and with a declared positive class among more than two.

    Raises:
        InvalidError: the score holds no numbers.

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

"""Logarithmic loss."""

from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value
from monitor.kpi.scores import positive_class

# A certain answer that is wrong would cost infinity; scikit-learn clips at the same place.
SMALLEST: Final = float(np.finfo(np.float64).eps)


def log_loss(frame: pl.DataFrame) -> KpiValue:
    """Mean of -ln of the probability that was given to what came true.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive where the spec declares it.

    Returns:
        Loss >= 0 in nats, probabilities clipped at 2.2e-16, with a normal 95 % interval. With two classes the score
        says both probabilities; with a declared positive it is that class against the rest. None with more classes
        otherwise, for a wrong answer's score does not say what the true class was given, and where a score is no
        probability.

    Raises:
        InvalidError: the score holds no numbers.

    Source: Good (1952); scikit-learn's log_loss.
    """
    graded = positive_class(frame, probability=True, symmetric=True)
    if isinstance(graded, KpiValue):
        return graded
    given = np.where(graded.true, graded.score, 1.0 - graded.score)
    losses = -np.log(np.clip(given, SMALLEST, 1.0 - SMALLEST))
    return mean_value(losses, lowest=0.0, left_out=graded.left_out, absent="no row has a score")


KPI = Kpi(
    name="log_loss",
    unit="nats",
    higher_is_better=False,
    tasks=("classification",),
    compute=log_loss,
    reads=("prediction", "outcome", "score"),
)

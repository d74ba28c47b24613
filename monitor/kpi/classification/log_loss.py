"""Logarithmic loss."""

from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.intervals import mean_value
from monitor.kpi.scores import positive_class

# Without a limit, one certain answer that is wrong would cost infinity. scikit-learn clips at the same value.
MIN_PROBABILITY: Final = float(np.finfo(np.float64).eps)


def log_loss(frame: pl.DataFrame) -> KpiValue:
    """Mean of -ln of the probability that the model gave to the outcome.

    Args:
        frame: columns prediction and outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Loss >= 0 in nats with a normal 95 % interval; probabilities are clipped at 2.2e-16. With two classes the score
        gives both probabilities; with a declared positive it is that class against the rest. None if there are more
        than two classes and no declared positive, because the score of a wrong answer does not give the probability of
        the outcome, and if a score is not a probability.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.

    Source: Good (1952); scikit-learn's log_loss.
    """
    graded = positive_class(frame, probability=True, symmetric=True)
    if isinstance(graded, KpiValue):
        return graded
    given = np.where(graded.true, graded.score, 1.0 - graded.score)
    losses = -np.log(np.clip(given, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY))
    return mean_value(losses, lowest=0.0, left_out=graded.left_out, if_empty="no row has a score")


KPI = Kpi(
    name="log_loss",
    unit="nats",
    higher_is_better=False,
    tasks=("classification",),
    compute=log_loss,
    reads=("prediction", "outcome", "score"),
)

"""What a comparison of two models on so many rows can see, and what a pass may have missed."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from retrain.evals.mean_difference import MeanDifference

POWER: Final = 0.8  # a loss is called detectable where it is stopped this often
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Power:
    """Of one comparison, in the unit of its score.

    `detectable_loss`: a challenger that is worse by this much is stopped 4 times in 5. `pass_if_equal`: how often one
    that is exactly as good passes. `rows_needed`: rows with which it passes 4 times in 5; where no observed loss is
    allowed, rows with which an observed difference of 0 passes.
    """

    rows: int
    effective_rows: float
    detectable_loss: float
    pass_if_equal: float
    rows_needed: int


def power(found: MeanDifference, *, margin: float, allowed: float) -> Power:
    """The power of a test that passes when the observed loss is within `allowed` and the interval within `margin`.

    Args:
        found: the comparison; its share of rows on which the models differ is taken as that of the next one.
        margin: loss that the interval must rule out, above 0.
        allowed: largest observed loss, 0 to margin.

    Returns:
        Power by the normal approximation, with half a row of continuity for shares.

    Source: Lachin (1992), Statistics in Medicine 11, 1239-1251, for paired proportions; Tango (1998) for the variance
    at the margin.
    """
    n, quantile, target = found.effective, _NORMAL.inv_cdf((1 + found.level) / 2), _NORMAL.inv_cdf(POWER)
    step = 0.0 if found.disagree is None else 0.5 / found.n

    def variance(loss: float) -> float:
        """Of a row's difference, at a true loss; a row on which no pair differed yet is no proof that none will."""
        if found.disagree is None:
            return found.spread**2
        smoothed = (found.disagree * found.n + 1) / (found.n + 2)
        return max(smoothed, loss) - loss**2

    least = max(-allowed, -margin + quantile * math.sqrt(variance(margin) / n))  # observed difference that passes
    deviation = math.sqrt(variance(0.0) / n)
    equal = _NORMAL.cdf((step - least) / deviation) if deviation else float(least <= 0)
    loss = 0.0
    for _ in range(50):
        loss = min(1.0, max(0.0, step - least + target * math.sqrt(max(0.0, variance(loss)) / n)))
    wanted = target * math.sqrt(variance(0.0)) if allowed >= margin else 0.0
    rows = ((quantile * math.sqrt(variance(margin)) + wanted) / margin) ** 2
    if found.disagree is not None:
        rows = max(rows, quantile**2 * (1 - margin) / margin)  # where the models agree on every row
    return Power(found.n, n, loss, equal, math.ceil(rows * found.design_effect))

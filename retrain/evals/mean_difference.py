"""The mean difference of two models on the same rows, with its interval: the one evaluations and gates quote."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from core.arrays import Floats
from core.errors import InsufficientDataError, InvalidError


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Challenger minus champion, in the unit of the score; the interval is two-sided at `level`."""

    value: float
    low: float
    high: float
    level: float
    champion: float
    challenger: float
    n: int


def paired_difference(champion: Floats, challenger: Floats, *, level: float = 0.95) -> MeanDifference:
    """Mean difference of paired scores.

    Args:
        champion: score of each row, shape (n,), finite; higher is better.
        challenger: scores of the same rows in the same order, shape (n,).
        level: coverage of the interval, 0 < level < 1.

    Returns:
        The difference of the means and its interval. For scores of 0 and 1 the interval is the adjusted Wald interval
        for paired proportions, which does not collapse where the models agree on every row; otherwise Student's.

    Raises:
        InvalidError: shapes differ, or a score is not finite.
        InsufficientDataError: fewer than two rows.

    Source: Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data; Student (1908).
    """
    if champion.shape != challenger.shape or champion.ndim != 1:
        shapes = f"{champion.shape} and {challenger.shape}"
        raise InvalidError(f"scores have shapes {shapes}; give one score per row for each model")
    if not (np.isfinite(champion).all() and np.isfinite(challenger).all()):
        raise InvalidError("a score is not finite; leave such rows out of both models")
    n = len(champion)
    if n < 2:
        raise InsufficientDataError(f"{n} rows; a paired difference needs at least 2", n=n)
    gain = challenger - champion
    value = float(gain.mean())
    if np.isin(champion, (0.0, 1.0)).all() and np.isin(challenger, (0.0, 1.0)).all():
        better, worse = (int((gain > 0).sum()) + 1) / (n + 2), (int((gain < 0).sum()) + 1) / (n + 2)
        centre = better - worse
        half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((better + worse - centre**2) / (n + 2))
        low, high = max(-1.0, centre - half), min(1.0, centre + half)
    else:
        from scipy.special import stdtrit  # a sixth of what the service would import at its start

        half = float(stdtrit(n - 1, (1 + level) / 2)) * float(gain.std(ddof=1)) / math.sqrt(n)
        low, high = value - half, value + half
    return MeanDifference(value, low, high, level, float(champion.mean()), float(challenger.mean()), n)

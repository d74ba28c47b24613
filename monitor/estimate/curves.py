"""From a score alone to the probability of a flag: isotonic, or logistic where there are few labels."""

from typing import Final

import numpy as np

from core.arrays import Flags, Floats

ISOTONIC_FROM_LABELS: Final = 1000  # with fewer labels a logistic curve (Platt), which has two parameters
KNOTS: Final = 256  # points of a stored logistic curve
MIN_PROBABILITY: Final = 1e-3  # of a calibrated probability, and of its complement
_PENALTY: Final = 1e-4  # of the squared slope of a logistic curve: so little that it only keeps the slope finite


def calibration_curve(score: Floats, true: Flags) -> tuple[Floats, Floats]:
    """The probability of a flag by its score, as points that straight lines connect.

    Args:
        score: finite, shape (rows,).
        true: shape (rows,); both values must occur.

    Returns:
        Scores in rising order and their probabilities, 0.001 to 0.999.

    Source: Zadrozny and Elkan (2002) for isotonic calibration; Platt (1999).
    """
    score, probability = (_isotonic if len(score) >= ISOTONIC_FROM_LABELS else _logistic)(score, true)
    return score, np.clip(probability, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)


def _isotonic(score: Floats, true: Flags) -> tuple[Floats, Floats]:
    """The ends of the steps of the rising curve that is nearest to the shares of each score.

    Source: the pooling of adjacent violators, Barlow et al. (1972). SciPy's loads all its optimisers with it.
    """
    different, which, rows = np.unique(score, return_inverse=True, return_counts=True)
    means, weights, first = list[float](), list[int](), list[int]()
    positives = np.bincount(which, weights=true).tolist()
    for at, (positive, count) in enumerate(zip(positives, rows.tolist(), strict=True)):
        mean, weight, begin = positive / count, count, at
        while means and means[-1] >= mean:
            mean = (means[-1] * weights[-1] + mean * weight) / (weights[-1] + weight)
            weight, begin = weight + weights.pop(), first.pop()
            means.pop()
        means.append(mean)
        weights.append(weight)
        first.append(begin)
    steps = np.array([first, [*first[1:], len(different)]]).T - [0, 1]  # first and last score of each
    several = np.diff(steps, axis=1)[:, 0] > 0
    ends = np.column_stack([np.ones(len(first), bool), several])
    return different[steps[ends]], np.repeat(means, 1 + several)


def _logistic(score: Floats, true: Flags) -> tuple[Floats, Floats]:
    from scipy.optimize import minimize
    from scipy.special import expit

    inside = bool(((score >= 0) & (score <= 1)).all())
    knots = np.linspace(0.0, 1.0, KNOTS) if inside else np.quantile(score, np.linspace(0.0, 1.0, KNOTS))
    knots = np.unique(knots)
    given, signs = _logit(score, inside), np.where(true, 1.0, -1.0)

    def loss(line: Floats) -> tuple[float, Floats]:
        margin = signs * (line[0] * given + line[1])
        pull = -signs * expit(-margin)
        value = np.logaddexp(0.0, -margin).sum() + 0.5 * _PENALTY * line[0] ** 2
        return float(value), np.array([pull @ given + _PENALTY * line[0], pull.sum()])

    slope, at_zero = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return knots, np.asarray(expit(slope * _logit(knots, inside) + at_zero), dtype=np.float64)


def _logit(score: Floats, inside: bool) -> Floats:
    if not inside:
        return score
    clipped = np.clip(score, 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)

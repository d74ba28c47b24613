"""Rates of small groups, drawn towards the rate of all: what can be expected of a group of which few rows are known.

The raw rate of 3 of 4 rows is 75 %, and nobody believes it. Seen as one of several groups whose rates lie around a
common one, it is drawn towards that, the more the fewer rows it has. It is shown beside the raw rate and replaces it
nowhere: a group that really is far off looks better here than it is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.fairness.intervals import LEVEL

MIN_GROUPS: Final = 3  # with rows; the spread of two rates cannot be told from chance
_STRENGTHS: Final = np.exp(np.linspace(np.log(1.0), np.log(1e5), 47))  # rows that the common rate may count as
_AWAY: Final = np.linspace(-3.5, 3.5, 15)  # standard errors between the common rate and its estimate


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Rates after shrinkage.

    Attributes:
        rate: posterior means, shape (groups,); the common rate for a group without rows. Nan if `reason` is given.
        low, high: ends of the interval of each, shape (groups,).
        towards: the common rate; None if `reason` is given.
        strength: rows that the common rate counts as; large where the groups hardly differ.
        reason: why nothing is shrunk.
    """

    rate: Floats
    low: Floats
    high: Floats
    towards: float | None
    strength: float | None
    reason: str | None


def shrunk(hits: Ints, n: Ints, level: float = LEVEL) -> Shrunk:
    """Empirical-Bayes estimates of the rates of groups.

    The rates are taken as drawn from a beta distribution. Its mean and strength are not known either: everything is
    averaged over both by the likelihood of the counts, so that the intervals include what is not known of them.

    Args:
        hits: rows that count, shape (groups,).
        n: rows, shape (groups,).
        level: probability of the interval.

    Returns:
        Rates with intervals; nan, with a reason, with fewer than three groups that have rows, or without any hit or
        miss.

    Source: Efron and Morris (1975); Griffin and Krutchkoff (1971) for the beta-binomial; Daniels (1999) for the uniform
    prior of the shrinkage.
    """
    from scipy.special import betaincinv

    none = np.full(np.shape(n), np.nan)
    known = n > 0
    if int(known.sum()) < MIN_GROUPS:
        return Shrunk(none, none, none, None, None, f"fewer than {MIN_GROUPS} groups have rows")
    if int(hits.sum()) in (0, int(n.sum())):
        return Shrunk(none, none, none, None, None, "every group has the same rate, none or all of its rows")
    strength, mean, weight = _priors(hits[known].astype(np.float64), n[known].astype(np.float64))
    a, b = (strength * mean)[:, None] + hits, (strength * (1.0 - mean))[:, None] + n - hits
    rates = a / (a + b)
    rate = weight @ rates
    variance = weight @ (rates * (1.0 - rates) / (a + b + 1.0)) + weight @ (rates - rate) ** 2
    rows = rate * (1.0 - rate) / variance - 1.0  # of the beta distribution with this mean and variance
    low, high = (
        np.asarray(betaincinv(rate * rows, (1.0 - rate) * rows, (1.0 + side * level) / 2.0), dtype=np.float64)
        for side in (-1, 1)
    )
    return Shrunk(rate, low, high, float(weight @ mean), float(np.exp(weight @ np.log(strength))), None)


def _priors(hits: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
    """Strengths and means of the prior, and the weight of each after the counts, shape (priors,) each."""
    from scipy.special import betaln

    share = n / (n + _STRENGTHS[:, None])  # how much the rate of a group says about the common one
    middle = (share * (hits / n)).sum(axis=1) / share.sum(axis=1)
    spread = np.sqrt(np.maximum(middle * (1.0 - middle), 1e-4) / (share * _STRENGTHS[:, None]).sum(axis=1))
    mean = np.clip(middle[:, None] + spread[:, None] * _AWAY, 1e-6, 1.0 - 1e-6)
    strength = np.broadcast_to(_STRENGTHS[:, None], mean.shape)
    a, b = (strength * mean)[..., None], (strength * (1.0 - mean))[..., None]
    log = (betaln(a + hits, b + n - hits) - betaln(a, b)).sum(axis=-1)
    typical = len(n) / (1.0 / n).sum()
    log += np.log(_STRENGTHS * typical / (_STRENGTHS + typical) ** 2 * spread)[:, None]  # a uniform share of the prior
    weight = np.exp(log - log.max())
    return strength.ravel(), mean.ravel(), (weight / weight.sum()).ravel()

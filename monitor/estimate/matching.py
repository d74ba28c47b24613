"""Match probabilities to the outcomes of the reference: blend two models so that the KPIs of the reference come out.

A calibration curve in steps is too sharp, because its estimate of the area under the ROC curve is that of the convex
hull; trees that are kept small are not sharp enough. Both would bias every estimate. A logistic regression blends them.
Besides both log-odds it reads a constant, the answer, and the rank of the score: its solution makes the sums of the
outcomes, of the outcomes among each answer, and of the ranks of the positive rows equal to those that were observed.
These sums determine accuracy, precision, recall, F1 and the area, so none of them is biased on rows like the reference.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Flags, Floats

RANKS: Final = 512  # points that the distribution of the score is kept with
MAX_LOG_ODDS: Final = 9.0  # of a probability that is blended, and of its complement
PRIOR: Final = 2.0  # weight with which the two models are pulled towards an equal share
ROUNDS: Final = 50  # of Newton's method
MODELS: Final = 2  # columns of the design that are log-odds of a model


@dataclass(frozen=True, eq=False)
class Matching:
    """A fitted blend.

    Attributes:
        ranks: quantiles of the reference's scores, in ascending order, shape (points,).
        weights: of each column of `design`, shape (columns,).
    """

    ranks: Floats
    weights: Floats

    def probabilities(self, models: Floats, rank: Floats, answer: Flags) -> Floats:
        """The matched probability of the target.

        Args:
            models: probabilities of the curve and of the trees, shape (2, rows).
            rank: `rank_of` the scores, shape (rows,).
            answer: whether the prediction is the second class, shape (rows,).

        Returns:
            Probabilities 0..1, shape (rows,).

        Source: the logistic function.
        """
        return _logistic(design(models, rank, answer) @ self.weights)


def quantiles(score: Floats) -> Floats:
    """Quantiles by which the rank of a score is found.

    Args:
        score: of the reference, shape (rows,).

    Returns:
        Scores in ascending order, shape (points,).
    """
    return np.asarray(np.quantile(score, (np.arange(RANKS) + 0.5) / RANKS), dtype=np.float64)


def rank_of(score: Floats, ranks: Floats) -> Floats:
    """The rank of each score among those of the reference.

    Args:
        score: shape (rows,), finite.
        ranks: from `quantiles`.

    Returns:
        Shape (rows,), from -0.5 for the lowest to 0.5 for the highest.
    """
    below = np.searchsorted(ranks, score, "left") + np.searchsorted(ranks, score, "right")
    return np.asarray(below / (2.0 * len(ranks)) - 0.5, dtype=np.float64)


def design(models: Floats, rank: Floats, answer: Flags) -> Floats:
    """The columns that are blended: log-odds of both models, a constant, the answer, the rank of the score.

    Args:
        models: probabilities of the curve and of the trees, shape (2, rows).
        rank: `rank_of` the scores, shape (rows,).
        answer: whether the prediction is the second class, shape (rows,).

    Returns:
        Shape (rows, columns).
    """
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(models) - np.log1p(-models), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.column_stack([*odds, np.ones(len(rank)), answer.astype(np.float64) - 0.5, rank])


def fit_matching(models: Floats, score: Floats, answer: Flags, true: Flags, ranks: Floats) -> Matching:
    """Fit the blend by maximum likelihood, with a prior on the shares of the two models only.

    Args:
        models: probabilities of the curve and of the trees for rows that neither has learned from, shape (2, rows).
        score: shape (rows,), finite.
        answer: whether the prediction is the second class, shape (rows,).
        true: whether the outcome is the target, shape (rows,); both must occur.
        ranks: from `quantiles`.

    Returns:
        The fitted blend.

    Source: McCullagh and Nelder, Generalized Linear Models (1989), section 4.4: a fitted logistic regression reproduces
    the sum of each of its columns over the positive rows. Wolpert (1992) for the blend of models.
    """
    x = design(models, rank_of(score, ranks), answer)
    start = np.zeros(x.shape[1])
    start[:MODELS] = 0.5
    prior = np.full(x.shape[1], 1e-6)
    prior[:MODELS] = PRIOR
    weights = start.copy()
    loss = _loss(x, true, weights, start, prior)
    for _ in range(ROUNDS):
        p = _logistic(x @ weights)
        gradient = x.T @ (p - true) + prior * (weights - start)
        step = np.linalg.solve((x * (p * (1.0 - p))[:, None]).T @ x + np.diag(prior), gradient)
        size = 1.0
        while (found := _loss(x, true, weights - size * step, start, prior)) > loss and size > 1e-6:
            size /= 2.0
        weights, gained, loss = weights - size * step, loss - found, found
        if gained < 1e-9 * len(true):
            break
    return Matching(ranks, weights)


def _logistic(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float64)


def _loss(x: Floats, true: Flags, weights: Floats, start: Floats, prior: Floats) -> float:
    odds = x @ weights
    fit = np.logaddexp(0.0, np.where(true, -odds, odds)).sum()
    return float(fit + 0.5 * (prior * (weights - start) ** 2).sum())

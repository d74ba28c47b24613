"""KPIs of two classes as functions of the probability that each row is positive.

Each function reads p, shape (draws, rows), the probability that the outcome is the second class; whether the prediction
is that class, shape (rows,); and the score, shape (rows,). It returns the expected KPI of each draw, shape (draws,). If
every p is 0 or 1, this is the KPI of these outcomes.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

import numpy as np

from core.arrays import Flags, Floats, Ints
from monitor.kpi.classification.log_loss import MIN_PROBABILITY
from monitor.kpi.confusion import f1_per_class, precisions, recalls


def _accuracy(p: Floats, answer: Flags, _score: Floats) -> Floats:
    right = p @ np.where(answer, 1.0, -1.0) + np.count_nonzero(~answer)
    return np.asarray(right / len(answer), dtype=np.float64)


def _cells(p: Floats, answer: Flags) -> Ints:
    """Expected rows per (outcome, prediction), shape (draws, 2, 2). They are fractions, in place of counts."""
    positive = p @ np.stack([~answer, answer], axis=1).astype(np.float64)
    rows = np.array([np.count_nonzero(~answer), np.count_nonzero(answer)], dtype=np.float64)
    return cast("Ints", np.stack([rows - positive, positive], axis=1))


def _macro(per_class: Callable[[Ints], Floats]) -> "Metric":
    return lambda p, answer, _score: per_class(_cells(p, answer)).mean(axis=-1)


def _log_loss(p: Floats, _answer: Flags, score: Floats) -> Floats:
    given = np.clip(score, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return np.asarray(-(p @ np.log(given) + (1.0 - p) @ np.log(1.0 - given)) / len(score), dtype=np.float64)


def _brier(p: Floats, _answer: Flags, score: Floats) -> Floats:
    return np.asarray((p @ (1.0 - score) ** 2 + (1.0 - p) @ score**2) / len(score), dtype=np.float64)


def _roc_auc(p: Floats, _answer: Flags, score: Floats) -> Floats:
    """Expected pairs in the right order over expected pairs. A row forms no pair with itself."""
    _, which, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - size / 2.0)[which]  # rows with a lower score, and half of those with an equal one
    positives = p.sum(axis=1)
    own = np.einsum("dr,dr->d", p, 1.0 - p)
    # Of the rows below a positive one, those that are positive too make half a square of all positives.
    ordered = p @ rank - positives**2 / 2.0 - own / 2.0
    pairs = positives * (len(score) - positives) - own
    return np.asarray(np.divide(ordered, pairs, out=np.full(len(p), np.nan), where=pairs > 0))


def _pr_auc(p: Floats, _answer: Flags, score: Floats) -> Floats:
    order = np.argsort(-score, kind="stable")
    p = p[:, order]
    first = np.flatnonzero(np.diff(-score[order], prepend=-np.inf))
    hits = np.add.reduceat(p, first, axis=1)
    precision = np.cumsum(hits, axis=1) / np.append(first[1:], len(score))
    positives = p.sum(axis=1)
    total = (hits * precision).sum(axis=1)
    return np.asarray(np.divide(total, positives, out=np.full(len(p), np.nan), where=positives > 0))


Metric = Callable[[Floats, Flags, Floats], Floats]
METRICS: Final[Mapping[str, Metric]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _macro(recalls),
    "brier": _brier,
    "f1_macro": _macro(f1_per_class),
    "log_loss": _log_loss,
    "pr_auc": _pr_auc,
    "precision_macro": _macro(precisions),
    "recall_macro": _macro(recalls),
    "roc_auc": _roc_auc,
}
PROBABILITY_ONLY: Final = ("brier", "log_loss")

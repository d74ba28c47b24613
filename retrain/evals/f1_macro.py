"""Macro F1: the mean over labels of the harmonic mean of precision and recall."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrain.evals.base import Eval, Evaluation, bootstrap, codes


def f1_macro(truth: NDArray[np.intp], guess: NDArray[np.intp], size: int) -> float:
    """Macro F1 of label codes in [0, size), over the labels that occur in either array (at least one row)."""
    hits = np.bincount(truth[truth == guess], minlength=size)
    total = np.bincount(truth, minlength=size) + np.bincount(guess, minlength=size)
    seen = total > 0
    return float(np.mean(2 * hits[seen] / total[seen]))


def evaluate(
    labels: Sequence[str], predictions: Sequence[str], *, confidence: float = 0.95, seed: int = 0
) -> Evaluation:
    """Macro F1 with a bootstrap interval over rows.

    Args:
        labels: true label per row, shape (rows,).
        predictions: predicted label per row, shape (rows,).
        confidence: coverage of the interval.
        seed: of the resampling.

    Returns:
        A share in [0, 1]; every label that is true or predicted somewhere counts once. None with a reason when there
        is no row.

    Raises:
        InvalidError: the two lengths differ.

    Source: arithmetic mean of per-label F1 (Opitz and Burst, arXiv 1911.03347); percentile bootstrap.
    """
    (truth, guess), size = codes(labels, predictions)
    n = len(truth)
    if n == 0:
        return Evaluation("f1_macro", None, "no rows", "share", True, 0, None, None)
    low, high = bootstrap(lambda i: f1_macro(truth[i], guess[i], size), n, confidence=confidence, seed=seed)
    return Evaluation("f1_macro", f1_macro(truth, guess, size), None, "share", True, n, low, high)


EVAL = Eval(name="f1_macro", needs="labels", unit="share", higher_is_better=True, compute=evaluate)

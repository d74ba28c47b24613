"""Challenger minus champion on the same rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidError
from retrain.evals.base import Difference, bootstrap, codes
from retrain.evals.f1_macro import f1_macro
from retrain.evals.mean_difference import paired_difference
from retrain.evals.perplexity import perplexity


def accuracy_difference(
    labels: Sequence[str],
    champion: Sequence[str],
    challenger: Sequence[str],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two accuracies with the interval of `paired_difference`; share, > 0 when the challenger is better.

    None with a reason when there is no row; the interval is missing with one row. `seed` is not used: nothing is drawn.

    Raises:
        InvalidError: lengths differ.
    """
    del seed
    (truth, old, new), _ = codes(labels, champion, challenger)
    n = len(truth)
    if n == 0:
        return Difference("accuracy", None, "no rows", "share", True, 0, None, None)
    before, after = (truth == old).astype(np.float64), (truth == new).astype(np.float64)
    if n == 1:
        return Difference("accuracy", float(after[0] - before[0]), None, "share", True, 1, None, None)
    found = paired_difference(before, after, level=confidence)
    return Difference("accuracy", found.value, None, "share", True, n, found.low, found.high)


def f1_macro_difference(
    labels: Sequence[str],
    champion: Sequence[str],
    challenger: Sequence[str],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two macro F1 values with a paired bootstrap interval; share, > 0 when the challenger is better.

    None with a reason when there is no row.

    Raises:
        InvalidError: lengths differ.
    """
    (truth, old, new), size = codes(labels, champion, challenger)
    n = len(truth)
    if n == 0:
        return Difference("f1_macro", None, "no rows", "share", True, 0, None, None)

    def gain(i: NDArray[np.intp]) -> float:
        return f1_macro(truth[i], new[i], size) - f1_macro(truth[i], old[i], size)

    low, high = bootstrap(gain, n, confidence=confidence, seed=seed)
    return Difference("f1_macro", gain(np.arange(n)), None, "share", True, n, low, high)


def perplexity_difference(
    champion: Sequence[NDArray[np.float32]],
    challenger: Sequence[NDArray[np.float32]],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two perplexities on the same rows, resampling rows; < 0 when the challenger is better.

    None with a reason when there is no token or a token has probability 0.

    Raises:
        InvalidError: the two sides do not hold the same tokens.
    """
    if [len(row) for row in champion] != [len(row) for row in challenger]:
        raise InvalidError("token_logprobs: champion and challenger differ in tokens per row; use one tokenizer")
    kept = [i for i, row in enumerate(champion) if len(row)]
    if not kept:
        return Difference("perplexity", None, "no completion tokens", "1", False, 0, None, None)
    counts = np.array([float(len(champion[i])) for i in kept])
    old, new = (np.array([float(np.sum(side[i], dtype=np.float64)) for i in kept]) for side in (champion, challenger))
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return Difference("perplexity", None, "a token has probability 0", "1", False, len(kept), None, None)

    def gain(i: NDArray[np.intp]) -> float:
        return perplexity(new[i], counts[i]) - perplexity(old[i], counts[i])

    low, high = bootstrap(gain, len(kept), confidence=confidence, seed=seed)
    return Difference("perplexity", gain(np.arange(len(kept))), None, "1", False, len(kept), low, high)

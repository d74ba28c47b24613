"""Perplexity of held-out completions under a causal language model."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrain.evals.base import Eval, Evaluation, bootstrap


def perplexity(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """exp of minus the mean token log-probability, from per-row sums and counts (at least one token)."""
    return math.exp(-float(sums.sum() / counts.sum()))


def evaluate(token_logprobs: Sequence[NDArray[np.float32]], *, confidence: float = 0.95, seed: int = 0) -> Evaluation:
    """Perplexity per completion token, with a bootstrap interval that resamples rows (tokens of a row belong together).

    Args:
        token_logprobs: per row the natural-log probability of each completion token; a row may be empty.
        confidence: coverage of the interval.
        seed: of the resampling.

    Returns:
        A number >= 1 without unit; `n` counts rows that have a token. None with a reason when there is no token, or
        when a token has probability 0.

    Source: Jelinek et al. (1977), J. Acoust. Soc. Am. 62, S63.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in token_logprobs if len(row)]
    n = len(rows)
    if n == 0:
        return Evaluation("perplexity", None, "no completion tokens", "1", False, 0, None, None)
    sums = np.array([row.sum() for row in rows])
    counts = np.array([float(len(row)) for row in rows])
    if not np.isfinite(sums).all():
        return Evaluation("perplexity", None, "a token has probability 0", "1", False, n, None, None)
    low, high = bootstrap(lambda i: perplexity(sums[i], counts[i]), n, confidence=confidence, seed=seed)
    return Evaluation("perplexity", perplexity(sums, counts), None, "1", False, n, low, high)


EVAL = Eval(name="perplexity", needs="token_logprobs", unit="1", higher_is_better=False, compute=evaluate)

"""Accuracy: the share of rows whose predicted label is the true one."""

from collections.abc import Sequence

from retrain.evals.base import Eval, Evaluation, codes, wilson


def evaluate(labels: Sequence[str], predictions: Sequence[str], *, confidence: float = 0.95) -> Evaluation:
    """Share of equal labels with its Wilson interval.

    Args:
        labels: true label per row, shape (rows,).
        predictions: predicted label per row, shape (rows,).
        confidence: coverage of the interval.

    Returns:
        A share in [0, 1]; None with a reason when there is no row.

    Raises:
        InvalidError: the two lengths differ.

    Source: interval after Wilson (1927).
    """
    (truth, guess), _ = codes(labels, predictions)
    n = len(truth)
    if n == 0:
        return Evaluation("accuracy", None, "no rows", "share", True, 0, None, None)
    right = int((truth == guess).sum())
    low, high = wilson(right, n, confidence)
    return Evaluation("accuracy", right / n, None, "share", True, n, low, high)


EVAL = Eval(name="accuracy", needs="labels", unit="share", higher_is_better=True, compute=evaluate)

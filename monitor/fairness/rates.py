"""The rates of a group that a fairness metric compares: one table.

Each rate is written twice. `parts` reads counts, for values, intervals and limits. `library` loads the function of
fairlearn or scikit-learn by which the value of an alarm is computed a second time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.arrays import Floats, Ints


@dataclass(frozen=True)
class GroupRate:
    """`name` is stored with each group's value; `words` are for sentences.

    `parts` reads counts and returns the rows that count and the rows of which they are a share.
    """

    name: str
    words: str
    parts: Callable[[Ints], tuple[Ints, Ints]]
    library: Callable[[], Callable[..., Any]]

    def of(self, counts: Ints) -> Floats:
        """The rate of each group; nan where it is a share of no row.

        Args:
            counts: rows per (outcome, prediction), shape (..., 2, 2).

        Returns:
            Shares 0..1, shape (...).

        Source: that of `parts`.
        """
        part, whole = self.parts(counts)
        out = np.full(np.shape(part), np.nan)
        np.divide(part, whole, out=out, where=whole > 0)
        return out


def selection_rate(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's rows with a positive prediction.

    Args:
        counts: rows per (outcome, prediction), shape (..., 2, 2).

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group without rows.

    Source: Agarwal et al. (2018).
    """
    return counts[..., 1].sum(axis=-1), counts.sum(axis=(-2, -1))


def true_positive_rate(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's rows with a positive outcome whose prediction is positive.

    Args:
        counts: rows per (outcome, prediction), shape (..., 2, 2).

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group without a positive outcome.

    Source: Hardt, Price and Srebro (2016).
    """
    return counts[..., 1, 1], counts[..., 1, :].sum(axis=-1)


def false_positive_rate(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's rows without a positive outcome whose prediction is positive.

    Args:
        counts: rows per (outcome, prediction), shape (..., 2, 2).

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group in which every outcome is positive.

    Source: Hardt, Price and Srebro (2016).
    """
    return counts[..., 0, 1], counts[..., 0, :].sum(axis=-1)


def accuracy(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's rows whose prediction equals the outcome.

    Args:
        counts: rows per (outcome, prediction), shape (..., 2, 2).

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group without rows.

    Source: scikit-learn's accuracy_score.
    """
    return counts[..., 0, 0] + counts[..., 1, 1], counts.sum(axis=(-2, -1))


def _fairlearn(name: str) -> Callable[[], Callable[..., Any]]:
    def load() -> Callable[..., Any]:
        from fairlearn import metrics  # with pandas, which takes a second to load

        found: Callable[..., Any] = getattr(metrics, name)
        return found

    return load


def _accuracy_score() -> Callable[..., Any]:
    from sklearn.metrics import accuracy_score

    found: Callable[..., Any] = accuracy_score
    return found


SELECTION: Final = GroupRate("selection_rate", "selection rate", selection_rate, _fairlearn("selection_rate"))
TRUE_POSITIVE: Final = GroupRate(
    "true_positive_rate", "true positive rate", true_positive_rate, _fairlearn("true_positive_rate")
)
FALSE_POSITIVE: Final = GroupRate(
    "false_positive_rate", "false positive rate", false_positive_rate, _fairlearn("false_positive_rate")
)
ACCURACY: Final = GroupRate("accuracy", "accuracy", accuracy, _accuracy_score)

RATES: Final = {rate.name: rate for rate in (SELECTION, TRUE_POSITIVE, FALSE_POSITIVE, ACCURACY)}

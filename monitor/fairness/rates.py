"""The rates of a group that a fairness metric compares: one table.

Each rate reads the counts of a group. `library` loads the function of fairlearn or scikit-learn, if one computes the
same number, by which the value of an alarm is computed a second time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from core.arrays import Ints
from monitor.fairness.cells import GroupCells
from monitor.fairness.estimates import Estimates, of_shares

Task = Literal["classification", "regression", "generation"]
Need = Literal["outcome", "score"]


@dataclass(frozen=True)
class GroupRate:
    """`name` is stored with each group's value; `words` are for sentences.

    Attributes:
        read: the rate of each group, from counts.
        needs: what a row must have to count: an outcome, a score, or both.
        best: whether the highest or the lowest rate is the best one.
        unit: of the rate and of a difference of two.
        without: in words, what a group lacks where its rate is undefined; `{}` is the positive class.
        task: the task of the models that have it.
        of_class: whether it is the rate of one class.
        metric: how fairlearn begins the names of its disparities, where that is not `name`.
    """

    name: str
    words: str
    read: Callable[[GroupCells], Estimates]
    needs: frozenset[Need] = frozenset()
    best: Literal["highest", "lowest"] = "highest"
    unit: str = "share"
    without: str = "no row"
    task: Task = "classification"
    of_class: bool = True
    metric: str | None = None
    library: Callable[[], Callable[..., Any]] | None = None

    @property
    def needs_outcome(self) -> bool:
        return "outcome" in self.needs


Parts = Callable[[Ints], tuple[Ints, Ints]]


def _share(parts: Parts) -> Callable[[GroupCells], Estimates]:
    return lambda cells: of_shares(*parts(cells.counts))


def selection_rate(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's rows with a positive prediction.

    Args:
        counts: rows per (outcome, prediction), shape (..., 3, 2); the third outcome is not known yet.

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group without rows.

    Source: Agarwal et al. (2018).
    """
    return counts[..., 1].sum(axis=-1), counts.sum(axis=(-2, -1))


def base_rate(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's labelled rows with a positive outcome.

    Args:
        counts: rows per (outcome, prediction), shape (..., 3, 2).

    Returns:
        Rows that count and rows in all, shape (...) each.

    Source: Aequitas's prevalence.
    """
    return counts[..., 1, :].sum(axis=-1), counts[..., :2, :].sum(axis=(-2, -1))


def accuracy(counts: Ints) -> tuple[Ints, Ints]:
    """Share of a group's labelled rows whose prediction equals the outcome.

    Args:
        counts: rows per (outcome, prediction), shape (..., 3, 2).

    Returns:
        Rows that count and rows in all, shape (...) each; none in all for a group without labels.

    Source: scikit-learn's accuracy_score.
    """
    return counts[..., 0, 0] + counts[..., 1, 1], counts[..., :2, :].sum(axis=(-2, -1))


def _given(outcome: int, prediction: int) -> Parts:
    """Share of the rows with an outcome that have a prediction: true and false positive and negative rates."""
    return lambda counts: (counts[..., outcome, prediction], counts[..., outcome, :].sum(axis=-1))


def _among(prediction: int, outcome: int) -> Parts:
    """Share of the labelled rows with a prediction that have an outcome: predictive values, discovery, omission."""
    return lambda counts: (counts[..., outcome, prediction], counts[..., :2, prediction].sum(axis=-1))


def treatment(cells: GroupCells) -> Estimates:
    """False negatives for each false positive.

    Args:
        cells: counts of each group.

    Returns:
        Ratios >= 0, shape (groups,); nan for a group without a false positive.

    Source: Berk et al. (2021), Fairness in Criminal Justice Risk Assessments: treatment equality.
    """
    missed, false = cells.counts[..., 1, 0], cells.counts[..., 0, 1]
    found = of_shares(missed, missed + false)
    odds = np.full(len(missed), np.nan)
    np.divide(missed, false, out=odds, where=false > 0)
    return Estimates(odds, found.n, found.hits, odds=True)


def _fairlearn(name: str) -> Callable[[], Callable[..., Any]]:
    def load() -> Callable[..., Any]:
        from fairlearn import metrics  # with pandas, which takes a second to load

        found: Callable[..., Any] = getattr(metrics, name)
        return found

    return load


def _sklearn(name: str) -> Callable[[], Callable[..., Any]]:
    def load() -> Callable[..., Any]:
        from sklearn import metrics

        found: Callable[..., Any] = getattr(metrics, name)
        return found

    return load


_OUTCOME: Final[frozenset[Need]] = frozenset(["outcome"])
_POSITIVE, _NEGATIVE = "no row with the outcome {}", "no row with another outcome than {}"
_CHOSEN, _OTHER = "no labelled row predicted {}", "no labelled row predicted otherwise than {}"

SELECTION: Final = GroupRate(
    "selection_rate", "selection rate", _share(selection_rate), library=_fairlearn("selection_rate")
)
TRUE_POSITIVE: Final = GroupRate(
    "true_positive_rate", "true positive rate", _share(_given(1, 1)), _OUTCOME, without=_POSITIVE,
    library=_fairlearn("true_positive_rate"),
)  # fmt: skip
FALSE_POSITIVE: Final = GroupRate(
    "false_positive_rate", "false positive rate", _share(_given(0, 1)), _OUTCOME, "lowest", without=_NEGATIVE,
    library=_fairlearn("false_positive_rate"),
)  # fmt: skip
FALSE_NEGATIVE: Final = GroupRate(
    "false_negative_rate", "false negative rate", _share(_given(1, 0)), _OUTCOME, "lowest", without=_POSITIVE,
    library=_fairlearn("false_negative_rate"),
)  # fmt: skip
TRUE_NEGATIVE: Final = GroupRate(
    "true_negative_rate", "true negative rate", _share(_given(0, 0)), _OUTCOME, without=_NEGATIVE,
    library=_fairlearn("true_negative_rate"),
)  # fmt: skip
PRECISION: Final = GroupRate(
    "positive_predictive_value", "positive predictive value", _share(_among(1, 1)), _OUTCOME, without=_CHOSEN,
    metric="precision_score", library=_sklearn("precision_score"),
)  # fmt: skip
NEGATIVE_VALUE: Final = GroupRate(
    "negative_predictive_value", "negative predictive value", _share(_among(0, 0)), _OUTCOME, without=_OTHER
)
DISCOVERY: Final = GroupRate(
    "false_discovery_rate", "false discovery rate", _share(_among(1, 0)), _OUTCOME, "lowest", without=_CHOSEN
)
OMISSION: Final = GroupRate(
    "false_omission_rate", "false omission rate", _share(_among(0, 1)), _OUTCOME, "lowest", without=_OTHER
)
ACCURACY: Final = GroupRate(
    "accuracy", "accuracy", _share(accuracy), _OUTCOME, without="no labelled row", of_class=False,
    metric="accuracy_score", library=_sklearn("accuracy_score"),
)  # fmt: skip
BASE: Final = GroupRate("base_rate", "base rate", _share(base_rate), _OUTCOME, without="no labelled row")
TREATMENT: Final = GroupRate(
    "treatment", "false negatives for each false positive", treatment, _OUTCOME, unit="ratio",
    without="no false positive for {}",
)  # fmt: skip

OF_CLASSES: Final = (
    SELECTION, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE, OMISSION, DISCOVERY, PRECISION,
    NEGATIVE_VALUE, ACCURACY, BASE,
)  # fmt: skip

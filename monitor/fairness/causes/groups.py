"""The rows of two groups, of which a disparity is a difference of means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from core.arrays import Flags, Floats
from monitor.fairness.intervals import newcombe

CONFIDENCE: Final = 0.95
FEWEST: Final = 5  # rows of a cell or level that is shown by its own number: fewer would tell of persons


@dataclass(frozen=True, slots=True)
class Ranged:
    """A number with the ends of its 95 % interval; None, with a reason, where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def ranged(value: float, variance: float, tests: int = 1, *, share: bool = False) -> Ranged:
    """A number with its normal interval.

    Args:
        value: the estimate.
        variance: of the estimate, >= 0.
        tests: numbers that are read together; the level is divided by it (Bonferroni), at least 1.
        share: whether it is a difference of shares, which lies within -1..1.

    Returns:
        The number and the ends of its interval.

    Source: the delta method; Wasserman, All of Statistics (2004), section 9.9.
    """
    from scipy.stats import norm

    half = float(norm.isf((1.0 - CONFIDENCE) / (2 * tests))) * float(np.sqrt(max(variance, 0.0)))
    low, high = value - half, value + half
    return Ranged(value, max(low, -1.0), min(high, 1.0)) if share else Ranged(value, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class TwoGroups:
    """The rows on which a rate is defined, of two groups; the disparity is the second mean minus the first.

    Attributes:
        first, second: names of the groups.
        value: what the rate is the mean of, shape (rows,): 0 or 1 for a share.
        later: whether a row is of the second group, shape (rows,).
    """

    first: str
    second: str
    value: Floats
    later: Flags

    @property
    def sizes(self) -> tuple[int, int]:
        n = int(self.later.sum())
        return len(self.later) - n, n

    @property
    def means(self) -> tuple[float, float]:
        return float(self.value[~self.later].mean()), float(self.value[self.later].mean())

    @property
    def disparity(self) -> float:
        first, second = self.means
        return second - first

    @property
    def share(self) -> bool:
        """Whether the means are shares."""
        return bool(np.isin(self.value, (0.0, 1.0)).all())

    @property
    def crude(self) -> Ranged:
        """The disparity over all rows, with its interval: of shares Newcombe's."""
        if self.share:
            (first, second), hits = self.sizes, (self.value[~self.later].sum(), self.value[self.later].sum())
            low, high = newcombe(hits[1], second, hits[0], first)
            return Ranged(self.disparity, float(low), float(high))
        sides = self.value[~self.later], self.value[self.later]
        return ranged(self.disparity, float(sum(spread(side) / len(side) for side in sides)))


def spread(values: Floats) -> float:
    """Variance of one value of a group.

    Args:
        values: shape (n,), n >= 1.

    Returns:
        The variance; of n equal values 1 / (4 n), since a share of 0 or 1 among n rows is not certain.
    """
    return float(values.var()) if np.ptp(values) > 0 else 0.25 / len(values)


Rows = Literal["all", "predicted", "not predicted", "happened", "not happened", "right", "number"]


@dataclass(frozen=True, slots=True)
class RowRate:
    """A rate by rows: the share of the rows `over` that are `of`, or the mean of a number."""

    words: str
    of: Rows
    over: Rows = "all"
    outcome: bool = True

    @property
    def number(self) -> bool:
        return self.of == "number"

    def rows(self, predicted: Flags, happened: Flags, number: Floats) -> tuple[Floats, Flags]:
        """What the rate is the mean of, and the rows that it is a mean over.

        Args:
            predicted, happened: whether prediction and outcome are the positive class, shape (rows,).
            number: the score, shape (rows,).

        Returns:
            Values and flags, shape (rows,) each.
        """
        parts = {
            "all": np.ones(len(predicted), dtype=np.bool_), "predicted": predicted, "not predicted": ~predicted,
            "happened": happened, "not happened": ~happened, "right": predicted == happened,
        }  # fmt: skip
        return number if self.of == "number" else parts[self.of].astype(np.float64), parts[self.over]


# Each rate as the mean of a value over some rows.
ROW_RATES: Final[Mapping[str, RowRate]] = {
    "selection_rate": RowRate("share of rows that got the answer", "predicted", outcome=False),
    "true_positive_rate": RowRate("true positive rate", "predicted", "happened"),
    "false_positive_rate": RowRate("false positive rate", "predicted", "not happened"),
    "false_negative_rate": RowRate("false negative rate", "not predicted", "happened"),
    "true_negative_rate": RowRate("true negative rate", "not predicted", "not happened"),
    "positive_predictive_value": RowRate("positive predictive value", "happened", "predicted"),
    "false_discovery_rate": RowRate("false discovery rate", "not happened", "predicted"),
    "negative_predictive_value": RowRate("negative predictive value", "not happened", "not predicted"),
    "false_omission_rate": RowRate("false omission rate", "happened", "not predicted"),
    "accuracy": RowRate("accuracy", "right"),
    "base_rate": RowRate("share of rows with the outcome", "happened"),
    "mean_score": RowRate("mean score", "number", outcome=False),
    "mean_prediction": RowRate("mean prediction", "number", outcome=False),
    "mean_error": RowRate("mean error (prediction - outcome)", "number"),
    "mean_absolute_error": RowRate("mean absolute error", "number"),
}

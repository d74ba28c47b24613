"""What every rate reads: the counts of each group, once one class counts as positive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core.arrays import Floats, Ints

BINS: Final = 20  # of a score 0..1
SCORE: Final = "score"  # the probability of the positive class
CONFIDENCE: Final = "confidence"  # the certainty of the prediction, whatever it is


@dataclass(frozen=True, eq=False)
class GroupCells:
    """Counts of each group, in one order.

    Attributes:
        by: the protected columns whose intersection forms the groups.
        levels: of each group, its level in each of these columns.
        names: of each group, its name.
        counts: rows with a prediction per (group, outcome, prediction), shape (groups, 3, 2): the outcome is 0 not
            positive, 1 positive, 2 not known yet; the prediction is 0 not positive, 1 positive.
        unanswered: rows without a prediction, shape (groups,).
        sums: by measure: rows that have it, their sum and sum of squares, shape (groups, 3).
        bins: of each bin of the score: rows, and of those with an outcome the number, the sum of scores and the events,
            shape (groups, 20, 4). An event is an outcome of the positive class; without one, a right prediction.
        positive: the class that counts as positive; None if a prediction counts as positive when it is right.
        median: the bin of the score in which the median of all rows lies; above it are at most half of them.
        spread: by measure: the standard deviation among all rows; nan below two rows.
    """

    by: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    counts: Ints
    unanswered: Ints
    sums: Mapping[str, Floats]
    bins: Floats
    positive: str | None
    median: int
    spread: Mapping[str, float]

    @property
    def n(self) -> Ints:
        """Rows with a prediction, shape (groups,)."""
        return np.asarray(self.counts.sum(axis=(-2, -1)))

    @property
    def labelled(self) -> Ints:
        """Rows with a prediction and an outcome, shape (groups,)."""
        return np.asarray(self.counts[..., :2, :].sum(axis=(-2, -1)))

    def take(self, groups: Sequence[int]) -> "GroupCells":
        """Some of the groups, in the given order."""
        at = list(groups)
        return replace(
            self, levels=tuple(self.levels[i] for i in at), names=tuple(self.names[i] for i in at),
            counts=self.counts[at], unanswered=self.unanswered[at],
            sums={name: values[at] for name, values in self.sums.items()}, bins=self.bins[at],
        )  # fmt: skip

    @property
    def overall(self) -> "GroupCells":
        """All groups as one."""
        return self._summed(lambda values: values.sum(axis=0, keepdims=True), ("overall",))

    @property
    def rest(self) -> "GroupCells":
        """In the place of each group, all others together."""
        return self._summed(lambda values: values.sum(axis=0, keepdims=True) - values, self.names)

    def _summed(self, what: Callable[[Any], Any], names: tuple[str, ...]) -> "GroupCells":
        return replace(
            self, levels=tuple((name,) for name in names), names=names, counts=what(self.counts),
            unanswered=what(self.unanswered), sums={name: what(values) for name, values in self.sums.items()},
            bins=what(self.bins),
        )  # fmt: skip

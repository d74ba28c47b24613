"""Grouping, once for every fairness metric: which groups are compared, and which rows count as positive."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Ints
from core.errors import InvalidError

MIN_GROUP: Final = 30  # rows
MISSING: Final = "(missing)"


@dataclass(frozen=True, eq=False)
class Grouped:
    """Rows of the compared groups, and the sizes of all groups."""

    by: str
    frame: pl.DataFrame  # text columns group, prediction and, if needed, outcome; rows of compared groups only
    sizes: dict[str, int]
    compared: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def n(self) -> int:
        return sum(self.sizes.values())

    @cached_property
    def group(self) -> Ints:
        """Index of each row's group among the compared ones, shape (rows,)."""
        codes = self.frame["group"].cast(pl.Enum(list(self.compared))).to_physical()
        return np.asarray(codes.cast(pl.Int64).to_numpy())

    def too_small(self, group: str) -> bool:
        return group not in self.compared


@dataclass(frozen=True, eq=False)
class BinaryRows:
    """The compared rows as a decision between two answers: 1 is positive, 0 is not."""

    groups: tuple[str, ...]
    group: Ints  # (rows,), index of the row's group
    outcome: Ints  # (rows,); all 0 if the metric reads no outcome
    prediction: Ints  # (rows,)

    @property
    def counts(self) -> Ints:
        """Rows per (group, outcome, prediction), shape (groups, 2, 2)."""
        cells = np.bincount(self.group * 4 + self.outcome * 2 + self.prediction, minlength=4 * len(self.groups))
        return cells.reshape(len(self.groups), 2, 2).astype(np.int64)


def grouped(frame: pl.DataFrame, by: str, *, min_group: int, outcome: bool) -> Grouped:
    """Group the rows that have a prediction (and an outcome, if the metric reads one) by a protected column.

    Rows whose group is missing form the group "(missing)". It is reported with its size and never compared.

    Args:
        frame: columns prediction, `by` and, if `outcome`, outcome, of any type, shape (rows,).
        by: the protected column.
        min_group: size of the smallest group that is compared, rows.
        outcome: whether the metric reads the outcome.

    Returns:
        The rows of the compared groups, the sizes of all groups, and the classes among predictions and outcomes.

    Raises:
        InvalidError: a column is absent, or min_group is below 1.

    Source: grouping by a sensitive feature, as in fairlearn's MetricFrame.
    """
    for column in ("prediction", by, *(["outcome"] if outcome else [])):
        if column not in frame.columns:
            raise InvalidError(f"the rows have no column {column!r}; a fairness metric needs it", column=column)
    if min_group < 1:
        raise InvalidError(f"min_group is {min_group}; give at least 1 row", min_group=min_group)
    rows = frame.select(
        pl.col(by).cast(pl.String).fill_null(MISSING).alias("group"),
        pl.col("prediction").cast(pl.String),
        *([pl.col("outcome").cast(pl.String)] if outcome else []),
    ).drop_nulls()
    sizes = dict(sorted(rows.group_by("group").len().iter_rows()))
    compared = tuple(group for group, n in sizes.items() if n >= min_group and group != MISSING)
    kept = rows.filter(pl.col("group").is_in(list(compared)))
    answers = [kept["prediction"], *([kept["outcome"]] if outcome else [])]
    classes = tuple(sorted(set().union(*(series.unique().to_list() for series in answers))))
    return Grouped(by, kept, sizes, compared, classes)


def against_rest(data: Grouped, positive: str) -> BinaryRows:
    """One class against the rest: a prediction or an outcome is positive if it is that class.

    Args:
        data: the compared rows.
        positive: the class.

    Returns:
        Groups, outcomes and predictions of the compared rows, shape (rows,) each.
    """
    prediction = (data.frame["prediction"] == positive).to_numpy().astype(np.int64)
    outcome = np.zeros_like(prediction)
    if "outcome" in data.frame.columns:
        outcome = (data.frame["outcome"] == positive).to_numpy().astype(np.int64)
    return BinaryRows(data.compared, data.group, outcome, prediction)


def right_or_wrong(data: Grouped) -> BinaryRows:
    """Every class at once: every outcome is positive, and a prediction is positive if it is right.

    Args:
        data: the compared rows, with outcomes.

    Returns:
        Groups, outcomes and predictions of the compared rows, shape (rows,) each.
    """
    right = (data.frame["prediction"] == data.frame["outcome"]).to_numpy().astype(np.int64)
    return BinaryRows(data.compared, data.group, np.ones_like(right), right)


def positive_class(data: Grouped, positive: str | None) -> str | None:
    """The given class; else with two classes the last in order (True of False/True, 1 of 0/1); None for more."""
    if positive is not None:
        return positive
    return data.classes[-1] if 1 <= len(data.classes) <= 2 else None


def too_few_groups(data: Grouped, min_group: int) -> str | None:
    """The reason to report if fewer than two groups are large enough; None if at least two are."""
    if len(data.compared) >= 2:
        return None
    sizes = ", ".join(f"{g}: {n}" for g, n in data.sizes.items()) or "no rows"
    return f"fewer than two groups of at least {min_group} rows ({sizes})"

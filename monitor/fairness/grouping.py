"""Grouping, once for every fairness metric: which groups are compared, and which rows count as positive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Ints
from core.errors import InvalidError
from monitor.levels import as_levels

MIN_GROUP: Final = 30  # rows
MISSING: Final = "(missing)"


@dataclass(frozen=True)
class Grouping:
    """The protected columns of a model, and how each is cut into groups.

    Attributes:
        columns: names of the protected columns, in declared order.
        edges: by numeric column: where one group ends and the next begins, ascending.
    """

    columns: tuple[str, ...]
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def groups(self, by: Sequence[str], depth: int = 1) -> tuple[tuple[str, ...], ...]:
        """Each column alone, then every intersection of up to `depth` of them."""
        return tuple(found for size in range(1, depth + 1) for found in combinations(by, size))


def banded(values: pl.Series, edges: Sequence[float]) -> pl.Series:
    """The band of each number: `under 18`, `18 to under 25`, `40 and over`; null where there is no number.

    Args:
        values: a column of any type, shape (rows,); texts that are numbers count as numbers.
        edges: where one band ends and the next begins, ascending, at least one.

    Returns:
        Bands as texts, shape (rows,).

    Raises:
        InvalidError: the edges are empty or do not ascend.

    Source: half-open intervals [edge, next edge).
    """
    if not edges or any(a >= b for a, b in pairwise(edges)):
        raise InvalidError(f"edges are {list(edges)}; give ascending numbers", edges=list(edges))
    numbers = values.cast(pl.Float64, strict=False).fill_nan(None)
    at = pl.Series(np.searchsorted(np.asarray(edges), numbers.fill_null(0.0).to_numpy(), side="right"))
    return pl.Series(band_names(edges), dtype=pl.String).gather(at).set(numbers.is_null(), None)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """The name of each band, from the lowest."""
    told = [f"{edge:g}" for edge in edges]
    between = [f"{a} to under {b}" for a, b in pairwise(told)]
    return (f"under {told[0]}", *between, f"{told[-1]} and over")


def named_groups(values: pl.Series) -> pl.Series:
    """The group of each value of a protected column: its level, or `(missing)` for None, NaN and a blank text."""
    if values.dtype.is_float():
        values = values.replace([float("inf"), float("-inf")], None)
    return as_levels(values).fill_null(MISSING)


def group_name(by: Sequence[str], levels: Sequence[str]) -> str:
    """How a group is told: the level of one column; `sex=F & race=Black` for an intersection."""
    if len(by) == 1:
        return levels[0]
    return " & ".join(f"{column}={level}" for column, level in zip(by, levels, strict=True))


def grouped_by(by: Sequence[str]) -> str:
    """How the columns of an intersection are told: `sex & race`."""
    return " & ".join(by)


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

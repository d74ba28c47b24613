"""Counts per group cell: one pass over the rows, from which every rate of every group follows.

They add up like profiles: those of a quarter are the sum of those of its windows, and those of one protected column are
the sum over the others. Rows are never needed again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Flags, Floats, Ints
from core.errors import InvalidError
from monitor.fairness.cells import BINS, CONFIDENCE, SCORE, GroupCells
from monitor.fairness.grouping import MISSING, Grouping, banded, group_name, named_groups
from monitor.levels import as_levels

OUTCOME: Final = "outcome"
PREDICTION: Final = "prediction"
BIN: Final = "score bin"
ROWS: Final = "rows"
KEY: Final = "protected:"  # before the name of a protected column, which may be called outcome too
PARTS: Final = ("n", "sum", "square")
Values = str | pl.Series  # a column of a frame, or the values themselves


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """Rows per cell of protected levels, outcome and prediction; and sums of numbers in each cell.

    Attributes:
        columns: protected columns, in declared order.
        measures: names of the numbers that are summed, such as `score`.
        table: one line for each cell that has rows. Texts: the level of each protected column (never null), outcome
            (null where there is none yet) and prediction (null where there is none); the score's bin 0..19 (null
            without a score); rows; and of each measure the number of rows that have it, their sum and sum of squares.
    """

    columns: tuple[str, ...]
    measures: tuple[str, ...]
    table: pl.DataFrame
    _made: dict[tuple[tuple[str, ...], str | None], GroupCells] = field(default_factory=dict, init=False, repr=False)

    @property
    def rows(self) -> int:
        """All rows, with or without prediction and outcome."""
        return int(self.table[ROWS].sum())

    @property
    def labelled(self) -> int:
        """Rows that have a prediction and an outcome."""
        return int(self.table.filter(pl.col(PREDICTION).is_not_null() & pl.col(OUTCOME).is_not_null())[ROWS].sum())

    def classes(self, *, outcome: bool = True) -> dict[str, int]:
        """The classes among predictions (and outcomes of predicted rows), with their number of predictions."""
        answered = self.table.filter(pl.col(PREDICTION).is_not_null())
        found = dict(answered.group_by(PREDICTION).agg(pl.col(ROWS).sum()).iter_rows())
        if outcome:
            found |= {name: 0 for name in answered[OUTCOME].drop_nulls().unique() if name not in found}
        return dict(sorted(found.items()))

    def over(self, by: Sequence[str]) -> "GroupCounts":
        """The same rows, grouped by some of the columns only.

        Raises:
            InvalidError: a column is not counted.
        """
        for name in by:
            if name not in self.columns:
                known = ", ".join(self.columns) or "none"
                raise InvalidError(
                    f"the counts have no column {name!r}; a group needs it (columns: {known})", column=name
                )
        return GroupCounts(tuple(by), self.measures, _summed(self.table, tuple(by), self.measures))

    def cells(self, by: Sequence[str], positive: str | None) -> GroupCells:
        """One class against the rest, by group, in order of the groups' levels.

        Args:
            by: the protected columns whose intersection forms the groups.
            positive: the class that counts as positive; None: a prediction is positive if it is right, and every
                outcome is.

        Returns:
            Counts per group; rows without a prediction are counted apart.
        """
        key = tuple(by), positive
        if key not in self._made:  # every metric of a grouping asks for the same
            self._made[key] = self._counted(*key)
        return self._made[key]

    def _counted(self, by: tuple[str, ...], positive: str | None) -> GroupCells:
        table = self.over(by).table
        keys = [KEY + name for name in by]
        levels = table.select(keys).unique().sort(keys)
        at = table.select(keys).join(levels.with_row_index("at"), on=keys, how="left", maintain_order="left")["at"]
        place = at.to_numpy().astype(np.int64)
        names = tuple(tuple(row) for row in levels.iter_rows())
        return _cells(table, place, names, by, positive, self.measures)


def _cells(
    table: pl.DataFrame, place: Ints, names: tuple[tuple[str, ...], ...], by: tuple[str, ...], positive: str | None,
    measures: Sequence[str],
) -> GroupCells:  # fmt: skip
    groups = len(names)
    answered = table[PREDICTION].is_not_null().to_numpy()
    if positive is None:
        hit = (table[PREDICTION] == table[OUTCOME]).fill_null(value=False).to_numpy()
        truth = np.where(table[OUTCOME].is_null().to_numpy(), 2, 1)
    else:
        hit = (table[PREDICTION] == positive).fill_null(value=False).to_numpy()
        truth = (table[OUTCOME] == positive).cast(pl.Int64).fill_null(2).to_numpy()
    rows = table[ROWS].to_numpy()
    code = place * 6 + truth * 2 + hit
    counts = _added(code[answered], rows[answered], groups * 6).reshape(groups, 3, 2)
    unanswered = _added(place[~answered], rows[~answered], groups)
    sums = {
        name: np.stack([
            np.bincount(place, table[f"{name}.{part}"].to_numpy(), minlength=groups).astype(np.float64)
            for part in PARTS
        ], axis=-1)
        for name in measures
    }  # fmt: skip
    right = (table[PREDICTION] == table[OUTCOME]).fill_null(value=False).to_numpy()
    bins = np.zeros((groups, BINS, 4))
    for name, event in ((SCORE, truth == 1), (CONFIDENCE, right)):
        if name in measures:
            bins = _bins(table, name, place, groups, event)
    return GroupCells(
        by, names, tuple(group_name(by, levels) for levels in names), counts, unanswered, sums, bins, positive,
        _median(bins), {name: _spread(values.sum(axis=0)) for name, values in sums.items()},
    )  # fmt: skip


def _median(bins: Floats) -> int:
    rows = bins[..., 0].sum(axis=0)
    return int(np.argmax(np.cumsum(rows) >= rows.sum() / 2))


def _spread(sums: Floats) -> float:
    n, total, square = sums
    return float(np.sqrt(max(square - total**2 / n, 0.0) / (n - 1))) if n > 1 else float("nan")


def _bins(table: pl.DataFrame, name: str, place: Ints, groups: int, event: Flags) -> Floats:
    """Of each group and bin of the score: rows, and of the rows with an outcome number, sum of scores and events."""
    scored = table[BIN].is_not_null().to_numpy()
    known = scored & table[OUTCOME].is_not_null().to_numpy()
    code = place * BINS + table[BIN].fill_null(0).to_numpy()
    n, total = table[f"{name}.n"].to_numpy(), table[f"{name}.sum"].to_numpy()
    parts = [
        np.bincount(code[kept], weights[kept], minlength=groups * BINS)
        for kept, weights in ((scored, n), (known, n), (known, total), (known & event, n))
    ]
    return np.stack(parts, axis=-1).reshape(groups, BINS, 4).astype(np.float64)


def _added(at: Ints, rows: Ints, size: int) -> Ints:
    return np.bincount(at, rows, minlength=size).astype(np.int64)


def count(
    frame: pl.DataFrame, grouping: Grouping, *, prediction: Values | None, outcome: Values | None = None,
    score: Values | None = None, of_prediction: bool = False, measures: Mapping[str, pl.Series] | None = None,
) -> GroupCounts:  # fmt: skip
    """Count the rows of every cell in one pass.

    Args:
        frame: the protected columns of the rows, of any type, shape (rows,).
        grouping: protected columns and edges. A missing value (None, NaN, a blank text) is a group of its own.
        prediction: the answers, which are compared as levels; None where they are no classes. Like what follows, a
            column of the frame, or values of shape (rows,).
        outcome: what turned out to be true; null where it is not known yet.
        score: the probability of the positive class, a number 0..1.
        of_prediction: whether the score is the certainty of the prediction instead, whatever it is.
        measures: by name: further numbers of each row that are summed, shape (rows,) each; null where a row has none.

    Returns:
        Counts in which every row is in exactly one cell.

    Raises:
        InvalidError: a column is absent.

    Source: contingency tables of groups, as in fairlearn's MetricFrame and Aequitas's crosstabs.
    """
    edges = grouping.edges
    groups = [(name, _values(frame, name)) for name in grouping.columns]
    keys = [(banded(values, edges[name]) if name in edges else values).alias(KEY + name) for name, values in groups]
    given = [None if values is None else _values(frame, values) for values in (prediction, outcome, score)]
    rows = next((len(values) for values in given if values is not None), frame.height)
    none = pl.Series("", [None], dtype=pl.String).new_from_index(0, rows)
    answer, truth = ((none if values is None else values) for values in given[:2])
    numbers = dict(measures or {})
    binned = none.cast(pl.Int64)
    if given[2] is not None:
        name = CONFIDENCE if of_prediction else SCORE
        numbers = {name: _numbers(given[2]), **numbers}
        binned = (numbers[name] * BINS).floor().clip(0, BINS - 1).cast(pl.Int64, strict=False)
    parts = [*keys, truth.alias(OUTCOME), answer.alias(PREDICTION), binned.alias(BIN)]
    table = pl.DataFrame([*parts, *(_numbers(values).alias(name) for name, values in numbers.items())])
    found = table.group_by([*(k.name for k in keys), OUTCOME, PREDICTION, BIN]).agg(
        pl.len().cast(pl.Int64).alias(ROWS),
        *(
            expression.alias(f"{name}.{part}")
            for name in numbers
            for part, expression in zip(
                PARTS,
                (pl.col(name).count().cast(pl.Float64), pl.col(name).sum(), (pl.col(name) ** 2).sum()),
                strict=True,
            )
        ),
    )
    named = found.with_columns(
        *(named_groups(found[k.name]).alias(k.name) for k in keys),
        as_levels(found[OUTCOME]).alias(OUTCOME), as_levels(found[PREDICTION]).alias(PREDICTION),
    )  # fmt: skip
    return GroupCounts(grouping.columns, tuple(numbers), _summed(named, grouping.columns, tuple(numbers)))


def _values(frame: pl.DataFrame, values: Values) -> pl.Series:
    if not isinstance(values, str):
        return values
    if values not in frame.columns:
        raise InvalidError(f"the rows have no column {values!r}; a fairness metric needs it", column=values)
    return frame[values]


def _numbers(values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(value=False), None)


def merge(parts: Iterable[GroupCounts]) -> GroupCounts:
    """The counts of all rows together, such as those of the windows of a quarter.

    A protected column that some parts lack is `(missing)` in their rows.

    Args:
        parts: counts of rows that do not overlap; at least one.

    Raises:
        InvalidError: there are no parts.

    Source: sums of contingency tables.
    """
    found = list(parts)
    if not found:
        raise InvalidError("there are no counts to merge; give those of at least one window")
    columns = tuple(dict.fromkeys(name for part in found for name in part.columns))
    measures = tuple(dict.fromkeys(name for part in found for name in part.measures))
    table = pl.concat([part.table for part in found], how="diagonal")
    filled = table.with_columns(
        *(pl.col(KEY + name).fill_null(MISSING) for name in columns),
        *(pl.col(f"{name}.{part}").fill_null(0.0) for name in measures for part in PARTS),
    )
    return GroupCounts(columns, measures, _summed(filled, columns, measures))


def _summed(table: pl.DataFrame, by: Sequence[str], measures: Sequence[str]) -> pl.DataFrame:
    keys = [*(KEY + name for name in by), OUTCOME, PREDICTION, BIN]
    sums = [ROWS, *(f"{name}.{part}" for name in measures for part in PARTS)]
    return table.group_by(keys).agg(pl.col(sums).sum()).sort(keys)

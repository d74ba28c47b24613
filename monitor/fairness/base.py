"""Grouping, once for every fairness metric: who is compared, on how many rows, and with what interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats, Ints
from core.errors import InvalidError

MINIMUM_GROUP: Final = 30
REDRAWS: Final = 300
SEED: Final = 20_240_101
MISSING: Final = "(missing)"


@dataclass(frozen=True)
class GroupRates:
    """Rates of one group; a rate is None where its denominator is empty. Groups under the minimum are not compared."""

    group: str
    n: int
    rates: dict[str, float | None]
    too_small: bool


@dataclass(frozen=True)
class FairnessValue:
    """`value` is None with a `reason` where undefined. `definition` says what was computed, in one sentence.

    `positive`: the class whose rates were compared; with more than two classes the worst one. low..high: 95 % bootstrap
    interval within groups; a largest difference is never negative, so chance alone makes it positive.
    """

    metric: str
    by: str
    value: float | None
    reason: str | None
    definition: str
    positive: str | None
    groups: tuple[GroupRates, ...]
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Fairness:
    name: str
    unit: str
    higher_is_better: bool
    needs_outcome: bool
    compute: "Callable[..., FairnessValue]"


@dataclass(frozen=True, eq=False)
class Grouped:
    """Rows of the groups compared, and the sizes of all groups."""

    by: str
    frame: pl.DataFrame  # columns group, prediction and, where needed, outcome; all text, compared groups only
    sizes: dict[str, int]
    compared: tuple[str, ...]
    classes: tuple[str, ...]

    def too_small(self, group: str) -> bool:
        return group not in self.compared


def grouped(frame: pl.DataFrame, by: str, *, min_group: int, outcome: bool) -> Grouped:
    """Rows with a prediction (and an outcome, where needed), by the values of a protected column.

    Rows whose group is missing form the group "(missing)": shown with its size, never compared.
    """
    needed = ["prediction", by, *(["outcome"] if outcome else [])]
    for column in needed:
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


def counts_by_group(data: Grouped, positive: str) -> Ints:
    """Rows per (compared group, outcome is positive, prediction is positive); 0 without outcomes."""
    group = {name: i for i, name in enumerate(data.compared)}
    g = np.array([group[x] for x in data.frame["group"]], dtype=np.int64)
    predicted = (data.frame["prediction"] == positive).to_numpy().astype(np.int64)
    actual = (
        (data.frame["outcome"] == positive).to_numpy().astype(np.int64)
        if "outcome" in data.frame.columns
        else np.zeros(len(g), dtype=np.int64)
    )
    cells = np.bincount(g * 4 + actual * 2 + predicted, minlength=4 * len(group))
    return cells.reshape(len(group), 2, 2).astype(np.int64)


def interval(counts: Ints, metric: Callable[[Ints], Floats]) -> tuple[float, float] | None:
    """2.5 % and 97.5 % points over 300 seeded redraws of each group's rows.

    `counts`: (groups, cells...); `metric` reads (redraws, groups, cells...) and gives one value per redraw, nan where
    undefined. None when more than a tenth of the redraws is undefined.
    """
    rng = np.random.default_rng(SEED)
    redrawn = np.stack(
        [
            rng.multinomial(row.sum(), row.ravel() / row.sum(), size=REDRAWS).reshape(REDRAWS, *row.shape)
            for row in counts
        ],
        axis=1,
    )
    values = metric(redrawn.astype(np.int64))
    values = values[np.isfinite(values)]
    if len(values) < 0.9 * REDRAWS:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def rate(part: Ints, whole: Ints) -> Floats:
    """part / whole, nan where the whole is empty."""
    out = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def undefined(metric: str, data: Grouped, definition: str, reason: str) -> FairnessValue:
    groups = tuple(GroupRates(g, n, {}, data.too_small(g)) for g, n in data.sizes.items())
    return FairnessValue(metric, data.by, None, reason, definition, None, groups, sum(data.sizes.values()))


def too_few_groups(data: Grouped, min_group: int) -> str | None:
    if len(data.compared) >= 2:
        return None
    sizes = ", ".join(f"{g}: {n}" for g, n in data.sizes.items()) or "no rows"
    return f"fewer than two groups of at least {min_group} rows ({sizes})"


def positive_class(data: Grouped, positive: str | None) -> str | None:
    """The class given, or with two classes the last in order (True of False/True, 1 of 0/1); None for more classes."""
    if positive is not None:
        return positive
    return data.classes[-1] if 1 <= len(data.classes) <= 2 else None

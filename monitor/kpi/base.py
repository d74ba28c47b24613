"""What every KPI shares: its entry in the catalogue, the rows it reads and the intervals it reports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidError

Z95: Final = 1.959963984540054
REDRAWS: Final = 300
SEED: Final = 20_240_101
MAXIMUM_CLASSES: Final = 1_000
NO_NUMBER: Final = "no row has a finite number in the column"
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


Task = Literal["classification", "regression", "generation"]
Part = Literal["prediction", "outcome", "score", "column"]
TASKS: Final[tuple[Task, ...]] = ("classification", "regression", "generation")


@dataclass(frozen=True)
class KpiValue:
    """`value` is None with a `reason` where the KPI is undefined; low..high is a 95 % interval for independent rows.

    One end of the interval may be missing where so few rows do not bound it. `left_out`: rows that were there but
    could not be used, such as one without a finite number; each KPI says which.
    """

    value: float | None
    reason: str | None
    n: int
    low: float | None = None
    high: float | None = None
    left_out: int = 0


@dataclass(frozen=True)
class Kpi:
    """One entry of the catalogue.

    `reads`: the columns of the frame `compute` gets. With outcome, rows without one are left out; without it, every row
    of the window counts. "column" is the one the rule names, of one of `column_types`. `unit` "column" is that
    column's own unit. `higher_is_better` is None where neither direction is.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    tasks: tuple[Task, ...]
    compute: Callable[[pl.DataFrame], KpiValue]
    reads: tuple[Part, ...] = ("prediction", "outcome")
    column_types: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Confusion:
    """Rows per (outcome, prediction), for the classes seen on either side in ascending order."""

    classes: tuple[str, ...]
    counts: Ints  # (classes, classes)


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with an outcome. A missing prediction stays: the model owed an answer and gave none."""
    for column in ("prediction", "outcome"):
        if column not in frame.columns:
            raise InvalidError(
                f"the rows have no column {column!r}; join predictions with outcomes first", column=column
            )
    return frame.filter(pl.col("outcome").is_not_null())


def undefined(reason: str, n: int = 0, *, left_out: int = 0) -> KpiValue:
    return KpiValue(None, reason, n, left_out=left_out)


def mean_value(
    values: Floats, *, lowest: float = -np.inf, highest: float = np.inf, left_out: int = 0, absent: str
) -> KpiValue:
    """Mean with its normal interval, cut at the ends of the range; no interval for one value, undefined for none."""
    if not len(values):
        return undefined(absent, left_out=left_out)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(values.mean())
        spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    if not np.isfinite(value):
        return undefined("the mean is too large for a number", len(values), left_out=left_out)
    if not np.isfinite(spread):
        return KpiValue(value, None, len(values), left_out=left_out)
    half = Z95 * spread / len(values) ** 0.5
    return KpiValue(value, None, len(values), max(lowest, value - half), min(highest, value + half), left_out)


def confusion(frame: pl.DataFrame) -> Confusion:
    """Count labelled rows. A missing prediction is a class of its own, which no outcome has, so it is always wrong."""
    outcome = frame["outcome"].cast(pl.String).to_numpy().astype(str)
    missing = frame["prediction"].is_null().to_numpy()
    prediction = frame["prediction"].cast(pl.String).fill_null("").to_numpy().astype(str)
    classes, codes = np.unique(np.concatenate([outcome, prediction[~missing]]), return_inverse=True)
    if len(classes) > MAXIMUM_CLASSES:
        raise InvalidError(
            f"{len(classes)} classes among predictions and outcomes, at most {MAXIMUM_CLASSES}; is this a text?",
            classes=len(classes),
        )
    size = len(classes) + bool(missing.any())
    predicted = np.full(len(outcome), size - 1, dtype=np.int64)
    predicted[~missing] = codes[len(outcome) :]
    counts = np.bincount(codes[: len(outcome)] * size + predicted, minlength=size * size).reshape(size, size)
    names = [*classes.tolist(), "(no prediction)"] if missing.any() else classes.tolist()
    return Confusion(tuple(names), counts.astype(np.int64))


def recalls(counts: Ints) -> Floats:
    """Right rows per outcome class over its rows; 0 for a class without rows. Last two axes: (outcome, prediction)."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def precisions(counts: Ints) -> Floats:
    """Right rows per predicted class over the rows predicted so; 0 for a class never predicted."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-2))


def macro_value(frame: pl.DataFrame, per_class: Callable[[Ints], Floats], *, outcomes_only: bool = False) -> KpiValue:
    """Mean over classes, all with the same weight, with its interval.

    Averaged are the classes that occur as outcome or prediction, or with `outcomes_only` those that occur as outcome.

    The interval is a bootstrap stratified by outcome, of 300 redraws with a fixed seed: for each class the row of the
    confusion matrix is redrawn from a multinomial, which is what redrawing that class's rows does. The interval is
    centred on the value (value - 1.96 s to value + 1.96 s, cut at 0 and 1): redraws of a macro average are biased.
    """
    rows = labelled(frame)
    if not rows.height:
        return undefined("no outcome has arrived")
    counts = confusion(rows).counts
    used = (counts.sum(axis=-1) + (0 if outcomes_only else counts.sum(axis=-2))) > 0
    value = float(per_class(counts)[used].mean())
    rng = np.random.default_rng(SEED)
    redrawn = np.zeros((REDRAWS, *counts.shape), dtype=np.int64)
    for i, row in enumerate(counts):
        filled = np.flatnonzero(row)
        if len(filled):
            redrawn[:, i, filled] = rng.multinomial(row.sum(), row[filled] / row.sum(), size=REDRAWS)
    # The same classes in every redraw: a class does not leave the average because a redraw missed it.
    spread = float(np.std(per_class(redrawn)[:, used].mean(axis=-1), ddof=1))
    return KpiValue(value, None, rows.height, max(0.0, value - Z95 * spread), min(1.0, value + Z95 * spread))


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share; n >= 1. Source: Wilson (1927)."""
    share = right / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * float(np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_right(frame: pl.DataFrame, right: pl.Series) -> KpiValue:
    n = frame.height
    if not n:
        return undefined("no outcome has arrived")
    count = int(right.fill_null(value=False).sum())
    return KpiValue(count / n, None, n, *wilson(count, n))


def paired(frame: pl.DataFrame) -> tuple[Floats, Floats, int]:
    """Predictions and outcomes of the labelled rows whose difference is finite, and how many rows have none.

    Raises:
        InvalidError: a column holds no numbers.
    """
    rows = labelled(frame)
    sides = []
    for column in ("prediction", "outcome"):
        if rows.height and not rows[column].dtype.is_numeric():
            raise InvalidError(f"{column} has type {rows[column].dtype}; a regression KPI needs numbers", column=column)
        sides.append(rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.isfinite(sides[0] - sides[1])
    return sides[0][usable], sides[1][usable], rows.height - int(usable.sum())


def no_pair(left_out: int) -> str:
    """Why `paired` found nothing."""
    return "no labelled row has a finite prediction" if left_out else "no outcome has arrived"


def numbers(frame: pl.DataFrame) -> tuple[Floats, int]:
    """Finite values of the column the rule names, and how many rows have none."""
    column = frame["column"]
    if column.null_count() < len(column) and not column.dtype.is_numeric():
        raise InvalidError(f"the column has type {column.dtype}; this KPI needs numbers", type=str(column.dtype))
    values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    finite = values[np.isfinite(values)]
    return finite.astype(np.float64), len(values) - len(finite)


def column_mean(frame: pl.DataFrame, *, lowest: float = -np.inf) -> KpiValue:
    """Mean of the column the rule names, with a normal interval; rows without a finite number are left out."""
    values, absent = numbers(frame)
    return mean_value(values, lowest=lowest, left_out=absent, absent=NO_NUMBER)


def percentile(frame: pl.DataFrame, share: float) -> KpiValue:
    """A quantile of the column the rule names, by linear interpolation, with the interval between order statistics.

    The ranks are n share -+ 1.96 sqrt(n share (1 - share)), rounded up, which needs no shape of the distribution. Where
    the rows do not reach such a rank that end is missing: 300 rows say nothing about how high their 99th percentile
    may lie.

    Source: Hyndman and Fan (1996), type 7; Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    values, absent = numbers(frame)
    n = len(values)
    if not n:
        return undefined(NO_NUMBER, left_out=absent)
    value = float(np.quantile(values, share))
    half = Z95 * (n * share * (1.0 - share)) ** 0.5
    below, above = int(np.ceil(n * share - half)), int(np.ceil(n * share + half))
    at = np.sort(values)
    low = min(value, float(at[below - 1])) if below >= 1 else None
    high = max(value, float(at[above - 1])) if above <= n else None
    return KpiValue(value, None, n, low, high, absent)


def share_true(frame: pl.DataFrame) -> KpiValue:
    """Share of true among the rows with an entry in the column the rule names, with its Wilson interval."""
    column = frame["column"]
    known = column.drop_nulls()
    left_out = len(column) - len(known)
    if not len(known):
        return undefined("no row has an entry in the column", left_out=left_out)
    if known.dtype != pl.Boolean:
        raise InvalidError(f"the column has type {column.dtype}; this KPI needs true or false", type=str(column.dtype))
    count = int(known.sum())
    return KpiValue(count / len(known), None, len(known), *wilson(count, len(known)), left_out=left_out)


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part), dtype=np.float64), where=whole > 0)

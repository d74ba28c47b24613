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
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KpiValue:
    """`value` is None with a `reason` where the KPI is undefined; low..high is a 95 % interval for independent rows."""

    value: float | None
    reason: str | None
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Kpi:
    """`compute` reads a frame with the columns prediction and outcome; rows without an outcome are left out."""

    name: str
    unit: str
    higher_is_better: bool
    tasks: tuple[Literal["classification", "regression", "generation"], ...]
    compute: Callable[[pl.DataFrame], KpiValue]


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


def undefined(reason: str, n: int = 0) -> KpiValue:
    return KpiValue(None, reason, n)


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


def macro(counts: Ints, per_class: Callable[[Ints], Floats]) -> Floats:
    """Mean over the classes that occur as outcome or prediction, all with the same weight."""
    used = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    return np.asarray(np.sum(per_class(counts) * used, axis=-1) / np.maximum(used.sum(axis=-1), 1), dtype=np.float64)


def macro_value(frame: pl.DataFrame, per_class: Callable[[Ints], Floats]) -> KpiValue:
    """A macro average with its interval.

    The interval is a bootstrap stratified by outcome, of 300 redraws with a fixed seed: for each class the row of the
    confusion matrix is redrawn from a multinomial, which is what redrawing that class's rows does. The interval is
    centred on the value (value - 1.96 s to value + 1.96 s, cut at 0 and 1): redraws of a macro average are biased.
    """
    rows = labelled(frame)
    if not rows.height:
        return undefined("no outcome has arrived")
    counts = confusion(rows).counts
    value = float(macro(counts, per_class))
    rng = np.random.default_rng(SEED)
    redrawn = np.zeros((REDRAWS, *counts.shape), dtype=np.int64)
    for i, row in enumerate(counts):
        filled = np.flatnonzero(row)
        if len(filled):
            redrawn[:, i, filled] = rng.multinomial(row.sum(), row[filled] / row.sum(), size=REDRAWS)
    used = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
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


def residuals(frame: pl.DataFrame) -> tuple[Floats, int]:
    """Prediction - outcome of the labelled rows with a finite prediction, and how many rows had none."""
    rows = labelled(frame)
    for column in ("prediction", "outcome"):
        if rows.height and not rows[column].dtype.is_numeric():
            raise InvalidError(f"{column} has type {rows[column].dtype}; a regression KPI needs numbers", column=column)
    errors = (rows["prediction"].cast(pl.Float64) - rows["outcome"].cast(pl.Float64)).fill_null(float("nan")).to_numpy()
    finite = errors[np.isfinite(errors)]
    return finite.astype(np.float64), len(errors) - len(finite)


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part), dtype=np.float64), where=whole > 0)

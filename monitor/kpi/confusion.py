"""The confusion matrix of labelled rows, and the macro averages over its classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats, Ints
from core.errors import InvalidError
from monitor.kpi.base import KpiValue, labelled, undefined
from monitor.kpi.bounds import MacroAverage, resampled
from monitor.kpi.intervals import Z95

MAX_CLASSES: Final = 1_000


class TooManyClassesError(InvalidError):
    """The matrix would not fit into memory; whatever else is measured of the rows does not need it."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """Rows per (outcome, prediction), for the classes seen on either side in ascending order."""

    classes: tuple[str, ...]
    counts: Ints  # (classes, classes)


def confusion(frame: pl.DataFrame) -> Confusion:
    """Count labelled rows by outcome and prediction.

    A missing prediction is a class of its own. No outcome has that class, so a missing prediction is always wrong.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,); every row has an outcome.

    Returns:
        Classes in ascending order and rows per (outcome, prediction), shape (classes, classes).

    Raises:
        TooManyClassesError: more than 1,000 classes.

    Source: Pearson (1904), the contingency table.
    """
    outcome = frame["outcome"].cast(pl.String).to_numpy().astype(str)
    missing = frame["prediction"].is_null().to_numpy()
    prediction = frame["prediction"].cast(pl.String).fill_null("").to_numpy().astype(str)
    classes, codes = np.unique(np.concatenate([outcome, prediction[~missing]]), return_inverse=True)
    if len(classes) > MAX_CLASSES:
        raise TooManyClassesError(
            f"{len(classes)} classes among predictions and outcomes, at most {MAX_CLASSES}; is this a text?",
            classes=len(classes),
        )
    size = len(classes) + bool(missing.any())
    predicted = np.full(len(outcome), size - 1, dtype=np.int64)
    predicted[~missing] = codes[len(outcome) :]
    counts = np.bincount(codes[: len(outcome)] * size + predicted, minlength=size * size).reshape(size, size)
    names = [*classes.tolist(), "(no prediction)"] if missing.any() else classes.tolist()
    return Confusion(tuple(names), counts.astype(np.int64))


def recalls(counts: Ints) -> Floats:
    """Recall of each class.

    Args:
        counts: rows per (outcome, prediction), shape (..., classes, classes).

    Returns:
        Right rows over the rows with that outcome, shares 0..1, shape (..., classes); 0 for a class without rows.

    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def precisions(counts: Ints) -> Floats:
    """Precision of each class.

    Args:
        counts: rows per (outcome, prediction), shape (..., classes, classes).

    Returns:
        Right rows over the rows with that prediction, shares 0..1, shape (..., classes); 0 for a class that is never
        predicted.

    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-2))


def f1_per_class(counts: Ints) -> Floats:
    """F1 of each class.

    Args:
        counts: rows per (outcome, prediction), shape (..., classes, classes).

    Returns:
        Harmonic mean of precision and recall, shares 0..1, shape (..., classes); 0 for a class that never occurs.

    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return _ratio(2 * right, counts.sum(axis=-1) + counts.sum(axis=-2))


def macro_value(frame: pl.DataFrame, per_class: Callable[[Ints], Floats], *, outcomes_only: bool = False) -> KpiValue:
    """Mean of a figure over classes, all with the same weight.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,); rows without an outcome are
            left out.
        per_class: reads rows per (outcome, prediction), shape (..., classes, classes), and returns a share per class.
        outcomes_only: average over the classes that occur as outcome, instead of those that occur as outcome or
            prediction.

    Returns:
        Share 0..1 with a 95 % interval; None if no row has an outcome, or there are more than
        1,000 classes. The interval is a bootstrap of 300 samples with
        a fixed seed, stratified by outcome: it draws each row of the confusion matrix from a multinomial, which equals
        drawing the rows of that class. Its centre is the value and its half width 1.96 standard deviations of the
        samples, cut at 0 and 1, because bootstrap samples of a macro average are biased.

    Raises:
        InvalidError: a column is absent.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rows = labelled(frame)
    if not rows.height:
        return undefined("no outcome has arrived")
    try:
        counts = confusion(rows).counts
    except TooManyClassesError as error:
        return undefined(error.message, rows.height)
    used = (counts.sum(axis=-1) + (0 if outcomes_only else counts.sum(axis=-2))) > 0

    def average(samples: Ints) -> Floats:  # the same classes in every sample, whether or not it contains them
        return np.asarray(per_class(samples)[..., used].mean(axis=-1))

    value, spread = float(average(counts)), float(np.std(resampled(counts, average), ddof=1))
    low, high = max(0.0, value - Z95 * spread), min(1.0, value + Z95 * spread)
    return KpiValue(value, None, rows.height, low, high, bounds=MacroAverage(counts, average, value))


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part), dtype=np.float64), where=whole > 0)

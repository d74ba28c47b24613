"""What KPIs of a classifier's score share: which probability the score is, and the area under the ROC curve.

An event holds the probability of one class only. By default this is the predicted class. If the score column declares
`positive`, it is that class; for the areas, any number that orders the rows by that class will do.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Flags, Floats
from core.errors import InvalidError
from monitor.kpi.base import KpiValue, labelled, undefined
from monitor.kpi.bounds import AroundLogit
from monitor.kpi.intervals import Z95


@dataclass(frozen=True, eq=False)
class Graded:
    """One score per row, and whether what the score predicts is true of that row."""

    true: Flags  # (rows,)
    score: Floats  # (rows,), finite
    left_out: int  # labelled rows without a score or without a prediction


@dataclass(frozen=True, eq=False)
class _Rows:
    outcome: NDArray[np.str_]
    prediction: NDArray[np.str_]
    score: Floats
    positive: str | None
    classes: list[str]
    left_out: int


def positive_class(frame: pl.DataFrame, *, probability: bool, symmetric: bool) -> Graded | KpiValue:
    """The score of the positive class, and whether the outcome is that class.

    If no positive class is declared and two classes occur, the later one in text order is positive, and the score of a
    row that predicts the other class becomes 1 - score. If more classes occur, the score of a class that was not
    predicted is unknown, so the KPI is undefined.

    Args:
        frame: columns prediction, outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).
        probability: whether the scores must lie in 0..1.
        symmetric: whether the KPI has the same value whichever of two classes is positive.

    Returns:
        Scores and flags of the usable rows, or the undefined KPI with its reason.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.
    """
    rows = _scored(frame)
    if isinstance(rows, KpiValue):
        return rows
    n, left_out = len(rows.score), rows.left_out
    if rows.positive is not None:
        if probability and (reason := _outside(rows.score)):
            return undefined(reason, n, left_out=left_out)
        return Graded(rows.outcome == rows.positive, rows.score, left_out)
    if reason := _outside(rows.score):
        return undefined(f"{reason}; declare `positive` for a score that is no probability", n, left_out=left_out)
    if len(rows.classes) > 2:
        return undefined(
            f"{len(rows.classes)} classes, and the score is the probability of the predicted one alone; "
            "declare `positive` for one class against the rest", n, left_out=left_out,
        )  # fmt: skip
    if not symmetric:
        return undefined("depends on which class is positive; declare `positive`", n, left_out=left_out)
    score = np.where(rows.prediction == rows.classes[-1], rows.score, 1.0 - rows.score)
    return Graded(rows.outcome == rows.classes[-1], score, left_out)


def confidence(frame: pl.DataFrame) -> Graded | KpiValue:
    """The probability that the model gave to its own answer, and whether the answer is right.

    With a declared positive class and two classes it is the score or 1 - score. With more classes it is unknown, so
    the KPI is undefined.

    Args:
        frame: columns prediction, outcome (compared as text), score, and positive if the spec declares it, shape
            (rows,).

    Returns:
        Probabilities and flags of the usable rows, or the undefined KPI with its reason.

    Raises:
        InvalidError: a column is absent, or the score does not hold numbers.
    """
    rows = _scored(frame)
    if isinstance(rows, KpiValue):
        return rows
    if reason := _outside(rows.score):
        return undefined(reason, len(rows.score), left_out=rows.left_out)
    right = rows.prediction == rows.outcome
    if rows.positive is None:
        return Graded(right, rows.score, rows.left_out)
    if len({*rows.classes, rows.positive}) > 2:
        return undefined(
            f"more than two classes, and the score is the probability of {rows.positive!r} alone", len(rows.score),
            left_out=rows.left_out,
        )  # fmt: skip
    return Graded(right, np.where(rows.prediction == rows.positive, rows.score, 1.0 - rows.score), rows.left_out)


def area(graded: Graded, names: tuple[str, str]) -> KpiValue:
    """Chance that a true row scores above a row that is not true; ties count one half.

    Args:
        graded: scores and flags, shape (rows,) each.
        names: how the reason describes a true row, and another row, if there is none.

    Returns:
        Share 0..1 with DeLong's 95 % interval. No interval with fewer than two rows of either kind, nor if the scores
        separate the two kinds completely: the method would claim certainty. None if a kind has no row.

    Source: DeLong, DeLong and Clarke-Pearson (1988).
    """
    high, low = np.sort(graded.score[graded.true]), np.sort(graded.score[~graded.true])
    n, left_out = len(graded.score), graded.left_out
    for side, name in zip((high, low), names, strict=True):
        if not len(side):
            return undefined(f"no row {name}, so there is nothing to order", n, left_out=left_out)
    above = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / (2.0 * len(low))
    below = 1.0 - (np.searchsorted(high, low, "left") + np.searchsorted(high, low, "right")) / (2.0 * len(high))
    value = float(above.mean())
    if len(high) < 2 or len(low) < 2:
        return KpiValue(value, None, n, left_out=left_out)
    error = float(above.var(ddof=1) / len(high) + below.var(ddof=1) / len(low)) ** 0.5
    if not error:
        return KpiValue(value, None, n, left_out=left_out)
    bounds = AroundLogit(value, error / (value * (1.0 - value)), min(len(high), len(low)) - 1)
    return KpiValue(value, None, n, max(0.0, value - Z95 * error), min(1.0, value + Z95 * error), left_out, bounds)


def _scored(frame: pl.DataFrame) -> _Rows | KpiValue:
    rows = labelled(frame)
    if not rows.height:
        return undefined("no outcome has arrived")
    score = rows["score"]
    if score.null_count() < len(score) and not score.dtype.is_numeric():
        raise InvalidError(f"the score has type {score.dtype}; a KPI of scores needs numbers", column="score")
    values = score.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().astype(np.float64)
    usable = np.isfinite(values) & rows["prediction"].is_not_null().to_numpy()
    left_out = rows.height - int(usable.sum())
    if not usable.any():
        return undefined("no labelled row has a prediction with a score", left_out=left_out)
    outcome, prediction = (
        rows[c].cast(pl.String).filter(pl.Series(usable)).to_numpy().astype(str) for c in ("outcome", "prediction")
    )
    positive = str(frame["positive"][0]) if "positive" in frame.columns else None
    classes = sorted({*np.unique(outcome).tolist(), *np.unique(prediction).tolist()})
    return _Rows(outcome, prediction, values[usable], positive, classes, left_out)


def _outside(score: Floats) -> str:
    outside = int(((score < 0.0) | (score > 1.0)).sum())
    return f"{outside} of {len(score)} scores lie outside 0..1, so they are no probabilities" if outside else ""

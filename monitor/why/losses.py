"""Which rows of a window are lost: wrong answers, large errors, values beyond the usual, or a group's harm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.fairness import FAIRNESS
from monitor.kpi import KPIS
from monitor.profile.coding import category_values, number_values
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule, KpiRule
from monitor.why.cuts import percent, said, usual_number
from monitor.windows.stored_levels import comparable

USUAL: Final = 0.9  # quantile of the reference beyond which a number is lost
LEAST_USUAL: Final = 30  # rows of the reference that give it; fewer, and the window's own upper fifth is lost
UPPER_FIFTH: Final = 0.8
LEAST_GROUP: Final = 30  # rows of a group that may be the harmed one
# Rates of fairness metrics by what happens to the harmed.
MISSED: Final = ("true_positive_rate", "false_negative_rate")
ACCUSED: Final = ("false_positive_rate", "true_negative_rate")
BELIED: Final = ("positive_predictive_value", "false_discovery_rate")
OVERLOOKED: Final = ("negative_predictive_value", "false_omission_rate")
WRONG: Final = ("accuracy", "treatment", "calibration_error", "exact_match")
OF_SCORE: Final = ("mean_score", "scoring_rate", "standardised_score")
OF_PREDICTION: Final = ("mean_prediction", "standardised_prediction")
OF_ERROR: Final = ("mean_error", "mean_absolute_error", "root_mean_squared_error")


@dataclass(frozen=True, eq=False)
class Lost:
    """Rows of both sides with a truth value `lost`, null in the reference where it is unknown.

    `words`: what happened to lost rows; `among`: within whom they are compared. `tells`: whether the model's answer may
    tell lost rows, which it may not where being lost is an answer. `column`: the one that says which rows are lost, and
    so cannot tell what they have in common; empty for answers and errors.
    """

    window: pl.DataFrame
    reference: pl.DataFrame
    words: str
    among: str = ""
    tells: bool = False
    column: str = ""


def of_kpi(
    spec: ModelSpec, rule: KpiRule, window: pl.DataFrame, reference: pl.DataFrame, labelled: Sequence[pl.DataFrame]
) -> Lost:
    """The lost rows of a KPI.

    Args:
        window, reference: all rows.
        labelled: those of the window and of the reference whose outcome has arrived, with the outcomes.

    Raises:
        InsufficientDataError: the KPI has no value per row.
    """
    reads = KPIS[rule.metric].reads if rule.expression is None else ("prediction", "outcome")
    if "column" in reads and rule.column is not None:
        late = spec.columns[rule.column].role == "outcome"
        sides = [side.filter(pl.col(rule.column).is_not_null()) for side in (labelled if late else (window, reference))]
        better = KPIS[rule.metric].higher_is_better
        return _of_column(spec, rule.column, better if better is not None else rule.max is None, sides)
    if "outcome" not in reads or spec.target is None:
        raise InsufficientDataError(f"{rule.metric} has no value per row, so no case is lost or not")
    return _of_answers(spec, labelled)


def _of_column(spec: ModelSpec, name: str, higher_is_better: bool, sides: Sequence[pl.DataFrame]) -> Lost:
    if spec.columns[name].type == "boolean":
        bad = "false" if higher_is_better else "true"
        found = [s.with_columns(lost=category_values(s, name) == bad) for s in sides]
        return Lost(found[0], found[1], f"{name} = {bad}", tells=True, column=name)
    if spec.columns[name].type != "number":
        raise InsufficientDataError(f"{name} is neither a number nor true or false, so no case is lost or not")
    sign = -1.0 if higher_is_better else 1.0
    values = [sign * number_values(s, name) for s in sides]
    limit = _usual(values[1], values[0])
    found = [s.with_columns(lost=pl.Series(v > limit)) for s, v in zip(sides, values, strict=True)]
    way = "below" if higher_is_better else "above"
    words = f"{name} {way} {said(sign * limit)} {spec.columns[name].unit or ''}".rstrip()
    return Lost(found[0], found[1], words, tells=True, column=name)


def _usual(reference: Floats, window: Floats, usual: float = USUAL, own: float = UPPER_FIFTH) -> float:
    """The limit of usual numbers, rounded to three digits: the same for each window of a reference."""
    known = reference[np.isfinite(reference)]
    values, share = (known, usual) if len(known) >= LEAST_USUAL else (window[np.isfinite(window)], own)
    if not len(values):
        raise InsufficientDataError("no row has a number")
    return float(f"{usual_number(values, share):.3g}")


def _of_answers(spec: ModelSpec, labelled: Sequence[pl.DataFrame]) -> Lost:
    sides = [_answered(spec, side) for side in labelled]
    if spec.task == "regression":
        errors = [np.abs(number_values(s, "prediction") - number_values(s, "outcome")) for s in sides]
        limit = _usual(errors[1], errors[0])
        found = [s.with_columns(lost=pl.Series(e > limit)) for s, e in zip(sides, errors, strict=True)]
        return Lost(found[0], found[1], f"off by more than {said(limit)}")
    if isinstance(sides[0].schema["outcome"], pl.List):
        wrong = ~pl.col("prediction").is_in(pl.col("outcome"))
    else:
        wrong = pl.col("prediction").cast(pl.String) != pl.col("outcome").cast(pl.String)
    found = [s.with_columns(lost=wrong.fill_null(value=True)) for s in sides]
    return Lost(found[0], found[1], "wrong", tells=spec.task == "classification")


def _answered(spec: ModelSpec, labelled: pl.DataFrame) -> pl.DataFrame:
    """Rows with an outcome, with the columns `prediction` and `outcome` as they are compared."""
    assert spec.target is not None
    named = {"prediction": pl.col(spec.with_role("prediction")[0]), "outcome": pl.col(spec.target)}
    both = comparable(spec, labelled.select(**named))
    return labelled.with_columns(both.get_columns()).filter(pl.col("outcome").is_not_null())


def of_fairness(
    spec: ModelSpec, rule: FairnessRule, by: Sequence[str], details: Mapping[str, Any], window: pl.DataFrame,
    reference: pl.DataFrame, labelled: Sequence[pl.DataFrame],
) -> Lost:  # fmt: skip
    """The harmed group's rows, and which of them were harmed.

    Args:
        by: protected columns whose groups are compared.
        details: of the measurement: the positive class, where the metric compares one.

    Raises:
        InsufficientDataError: no class counts as positive, no group has 30 rows, or the metric is about no answers.
    """
    rates = {rate.name for rate in FAIRNESS[rule.metric].rates}
    name = spec.with_role("prediction")[0]
    if rates & {*OF_SCORE, *OF_PREDICTION}:
        column = spec.with_role("score")[0] if rates & {*OF_SCORE} else name
        values = [number_values(side, column) for side in (window, reference)]
        limit = -_usual(-values[1], -values[0], 0.5, 0.5)
        marked = [s.with_columns(lost=pl.Series(v < limit)) for s, v in zip((window, reference), values, strict=True)]
        return _harmed(marked, by, f"{column} below {said(limit)}")
    positive = details.get("positive")
    if rates & {"selection_rate"}:
        sides = [s.with_columns(prediction=category_values(s, name)) for s in (window, reference)]
        return _harmed([s.with_columns(lost=pl.col("prediction") != _known(positive)) for s in sides], by,
                       f"not answered {positive!r}")  # fmt: skip
    if spec.target is None or not rates & {*MISSED, *ACCUSED, *BELIED, *OVERLOOKED, *WRONG, *OF_ERROR}:
        raise InsufficientDataError(f"{rule.metric} says nothing about single answers")
    found = _of_answers(spec, labelled)
    if rates & {*WRONG, *OF_ERROR} or spec.task != "classification":
        return _harmed((found.window, found.reference), by, found.words)
    sides = [
        s.with_columns(category_values(s, c) for c in ("prediction", "outcome"))
        for s in (found.window, found.reference)
    ]
    yes, truly = pl.col("prediction") == _known(positive), pl.col("outcome") == _known(positive)
    kinds = [
        (rates & {*MISSED}, truly, f"missed though {positive!r}"),
        (rates & {*ACCUSED}, ~truly, f"answered {positive!r} though not"),
        (rates & {*BELIED}, yes, f"answered {positive!r} though not"),
        (rates & {*OVERLOOKED}, ~yes, f"missed though {positive!r}"),
    ]
    chosen = [([s.filter(within.fill_null(value=False)) for s in sides], words) for has, within, words in kinds if has]
    rows, words = max(chosen, key=lambda kind: _spread(kind[0][0], by))  # of several, where groups differ more
    return _harmed(rows, by, words)


def _known(positive: str | None) -> str:
    if positive is None:
        raise InsufficientDataError("no class counts as positive, so no case is lost or not")
    return positive


def _rates(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Rows and the share of lost ones of each group of at least 30 rows, the most lost first.

    Rows without a group are in none.
    """
    keyed = rows.select(*(category_values(rows, name).alias(name) for name in by), "lost").drop_nulls(list(by))
    counted = keyed.group_by(list(by)).agg(pl.len().alias("rows of it"), pl.col("lost").mean().alias("lost"))
    kept = counted.filter(pl.col("rows of it") >= LEAST_GROUP)
    return kept.sort("lost", *by, descending=[True, *(False for _ in by)])


def _spread(rows: pl.DataFrame, by: Sequence[str]) -> float:
    """How far the shares of lost rows lie apart between groups."""
    found = _rates(rows, by)["lost"]
    return float(found[0] - found[-1]) if len(found) > 1 else -1.0


def _harmed(sides: Sequence[pl.DataFrame], by: Sequence[str], words: str) -> Lost:
    """The group with the largest share of lost rows."""
    rates = _rates(sides[0], by)
    if rates.is_empty():
        raise InsufficientDataError(f"no group has {LEAST_GROUP} rows that count")
    worst = rates.row(0, named=True)
    mine, rest = [], []
    for side in sides:
        of_group = pl.Series([True]).new_from_index(0, side.height)
        for name in by:
            of_group &= (category_values(side, name) == worst[name]).fill_null(value=False)
        mine.append(side.filter(of_group))
        rest.append(side.filter(~of_group))
    group = " and ".join(f"{name} = {worst[name]!r}" for name in by)
    others = f", {percent(float(rest[0]['lost'].mean()))} of all others" if rest[0].height else ""  # type: ignore[arg-type]  # not empty
    among = f"among {group} ({percent(worst['lost'])} of {mine[0].height} rows{others})"
    return Lost(mine[0], mine[1], words, among)

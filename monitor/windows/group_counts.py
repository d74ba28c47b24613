"""The rows of a window counted by group: one pass, from which every fairness metric of the window follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from monitor.fairness import FAIRNESS, FairnessValue
from monitor.fairness.counts import GroupCounts, count
from monitor.fairness.grouping import Grouping, grouped_by
from monitor.fairness.numbers import ABSOLUTE, ERROR, EXACT, LENGTH, PREDICTED, REFUSED, SQUARED
from monitor.fairness.unknown_members import Membership, Shares, shares_by
from monitor.kpi.generation.refusal_rate import is_refusal
from monitor.kpi.references import without_own_answer
from monitor.kpi.texts import composed, equals_reference
from monitor.spec import false_alarm_budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule
from monitor.spec.positive import positive_of
from monitor.windows.lasting_disparities import SHARE, lasting_rule
from monitor.windows.readings import NO_TARGET, Limits, Reading, unlike_labels
from monitor.windows.stored_levels import comparable


@dataclass(frozen=True, eq=False, slots=True)
class CountedRows:
    """Rows of a window by group.

    Attributes:
        counts: of every protected column together.
        complete: whether every row has its outcome.
        unlike: why predictions and outcomes cannot be compared; None where they can.
    """

    counts: GroupCounts
    complete: bool
    unlike: str | None


def counted_rows(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> CountedRows | None:
    """Count the rows of a window by protected group; None for a model without protected columns.

    Args:
        labelled: rows of the window whose outcome has arrived, with the outcome columns.
        window: all rows of the window.
    """
    protected = spec.with_role("protected")
    if not protected:
        return None
    frame = _with_outcome(spec, labelled, window)
    prediction, target = spec.with_role("prediction")[0], spec.target
    outcome = pl.lit(None, dtype=pl.String) if target is None else pl.col(target)
    rows = comparable(spec, frame.select(pl.col(prediction).alias("prediction"), outcome.alias("outcome")))
    edges = {name: found for name in protected if (found := spec.columns[name].bands) is not None}
    grouping = Grouping(protected, edges)
    unlike, complete = unlike_labels(spec, rows), rows["outcome"].null_count() == 0
    if spec.task != "classification":
        measures = _numbers(rows) if spec.task == "regression" else _texts(spec, rows)
        return CountedRows(count(frame, grouping, prediction=None, measures=measures), complete, unlike)
    score = next((name for name in spec.with_role("score") if spec.columns[name].type == "number"), None)
    counts = count(
        frame, grouping, prediction=rows["prediction"], outcome=rows["outcome"], score=score,
        of_prediction=score is not None and spec.columns[score].positive is None,
    )  # fmt: skip
    return CountedRows(counts, complete, unlike)


def _with_outcome(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """All rows of the window, with the outcome that predictions are compared with; null where none has arrived."""
    if spec.target is None or labelled.height == window.height:
        return window if spec.target is None else labelled
    return window.join(labelled.select("seq", spec.target), on="seq", how="left")


def _numbers(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """What a regression's rates are means of."""
    said, right = (rows[name].cast(pl.Float64, strict=False) for name in ("prediction", "outcome"))
    error = said - right
    return {PREDICTED: said, ERROR: error, ABSOLUTE: error.abs(), SQUARED: error**2}


def _texts(spec: ModelSpec, rows: pl.DataFrame) -> dict[str, pl.Series]:
    """What the rates of written answers are means of."""
    said = composed(rows["prediction"])
    outcome = rows["outcome"]
    if spec.target is not None and spec.columns[spec.target].references == "collected":
        outcome = without_own_answer(rows["prediction"], outcome)
    right = equals_reference(rows.with_columns(outcome.alias("outcome")))
    return {REFUSED: is_refusal(said).cast(pl.Float64), LENGTH: said.str.len_chars(), EXACT: right.cast(pl.Float64)}


def fairness_readings(spec: ModelSpec, counted: CountedRows | None, scale: str) -> list[Reading]:
    """Every fairness metric that the spec names, for each grouping it names; judged like a KPI.

    Args:
        counted: rows of the window by group; None for a model without protected columns.
        scale: length of the window, for its share of the false-alarm budget.
    """
    if counted is None:
        return []
    return [_reading(spec, rule, by, counted, scale) for rule in spec.monitors.fairness for by in rule.groupings]


def compute_fairness(spec: ModelSpec, rule: FairnessRule, by: tuple[str, ...], counts: GroupCounts) -> FairnessValue:
    """A fairness metric of some rows, by the class and the comparison that the spec declares."""
    declared = positive_of(spec, rule)
    return FAIRNESS[rule.metric].compute(
        counts, by, positive=declared.name, key=declared.key, truth=declared.truth, assume=declared.assume,
        min_group=rule.min_group, compare=rule.compare, reference=rule.reference, shares=shares_of(spec, by),
    )  # fmt: skip


def shares_of(spec: ModelSpec, by: tuple[str, ...]) -> Shares | None:
    """The shares of a grouping by a column that the spec declares as a proxy; None for other groupings."""
    return shares_by(proxies_of(spec, by), by)


def proxies_of(spec: ModelSpec, names: Sequence[str]) -> dict[str, Shares]:
    """Of those columns that only guess at membership: the share of each value's rows in each group."""
    return {name: found.shares_by_value for name in names if (found := spec.columns[name].proxy) is not None}


def _reading(spec: ModelSpec, rule: FairnessRule, by: tuple[str, ...], counted: CountedRows, scale: str) -> Reading:
    metric = FAIRNESS[rule.metric]
    found = compute_fairness(spec, rule, by, counted.counts)
    if metric.needs_outcome and (reason := NO_TARGET if spec.target is None else counted.unlike):
        found = replace(found, value=None, reason=reason, low=None, high=None, bounds=None, pair=None)
    return Reading(
        "fairness", rule.name, found.value, found.reason, metric.unit, found.n, column=grouped_by(by), low=found.low,
        high=found.high, limit=rule.min if rule.max is None else rule.max, details=fairness_details(rule, found),
        limits=_limits(spec, rule, found, scale, complete=counted.complete or not metric.needs_outcome),
    )  # fmt: skip


def fairness_details(rule: FairnessRule, found: FairnessValue) -> dict[str, Any]:
    """What is stored beside the value: groups with rates and intervals, what was computed, and of which class."""
    groups = [
        {
            "group": g.group, "n": g.n, "rates": g.rates, "intervals": {k: list(v) for k, v in g.intervals.items()},
            "of": g.of, "too_small": g.too_small, **({"against": g.against} if g.against else {}),
            **({"adjusted_p": g.adjusted_p} if g.adjusted_p else {}),
        }
        for g in found.groups
    ]  # fmt: skip
    return {
        "groups": groups, "definition": found.definition, "positive": found.positive,
        "positive_source": found.source, "class_assumed": found.source == "assumed", "min_group": rule.min_group,
        "compare": found.compare, "between": None if found.pair is None else list(found.pair),
        **({"reference": rule.reference} if rule.reference else {}),
        **({"classes": [{"class": name, "value": value} for name, value in found.classes]} if found.classes else {}),
        **({"p": found.p} if found.p is not None else {}),
        **({"membership": _membership(found.membership)} if found.membership is not None else {}),
    }  # fmt: skip


def _membership(found: Membership) -> dict[str, Any]:
    bounds = found.possible
    return {
        "by_proxy": found.by_proxy, "unknown": bounds.unknown, "low": bounds.low, "high": bounds.high,
        "low_sampled": bounds.low_sampled, "high_sampled": bounds.high_sampled, "reason": bounds.reason,
        "rate": found.rate, "between": None if found.between is None else list(found.between),
        "groups": {name: list(ends) for name, ends in found.groups.items()},
    }  # fmt: skip


def _limits(spec: ModelSpec, rule: FairnessRule, found: FairnessValue, scale: str, *, complete: bool) -> Limits | None:
    if rule.min is None and rule.max is None:
        return None
    alpha = false_alarm_budget.limit_alpha(spec, "limits", scale)
    lasting = lasting_rule(rule, alpha, each_class=found.source == "each class")
    alone = alpha if lasting is None else alpha * (1.0 - SHARE)
    return Limits(
        rule.min, rule.max, rule.min_group, complete, alone, 0.0, found.bounds, found.second_opinion, lasting=lasting
    )

"""The numbers of one window: drift, KPI and fairness readings in one shape, each with limit, interval and reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from monitor.decide import Decision
from monitor.drift import Score
from monitor.fairness import FAIRNESS, FairnessValue
from monitor.kpi import KPIS
from monitor.kpi.base import KpiValue
from monitor.schema import ModelSpec, SpecError


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one window; `value` is None exactly where `reason` says why."""

    monitor: str
    metric: str
    value: float | None
    reason: str | None
    unit: str
    n: int
    column: str = ""
    segment: str = ""
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    alarm: bool = False
    n_reference: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


def drift_readings(decision: Decision, scores: Sequence[Score]) -> list[Reading]:
    """The decision's p value, the effect of each column, and the catalogue of statistics."""
    n, n_reference = decision.n_window, decision.n_reference
    readings = [
        Reading(
            "drift", "p_value", decision.p, None if decision.p is not None else decision.reason, "probability", n,
            limit=decision.alpha, alarm=decision.alarmed, n_reference=n_reference,
            details={"verdict": decision.verdict, "draws": decision.draws},
        )
    ]  # fmt: skip
    readings += [
        Reading(
            "drift", "effect", finding.value, None, finding.unit, n, column=finding.column, n_reference=n_reference,
            details={
                "effect": finding.effect, "detail": finding.detail, "t": finding.t, "adjusted_p": finding.adjusted_p,
                "above_floor": finding.above_floor, "named": finding.alarmed, "visible_change": finding.visible_change,
                "reference": finding.reference, "current": finding.current,
            },
        )
        for finding in decision.columns
    ]  # fmt: skip
    readings += [
        Reading(
            "drift", score.method, score.value, score.reason, score.unit, score.n_current, column=score.column,
            n_reference=score.n_reference,
        )
        for score in scores
    ]  # fmt: skip
    return readings


def kpi_readings(spec: ModelSpec, labelled: pl.DataFrame, rows: int) -> list[Reading]:
    """Every KPI the spec names, on the rows whose outcome has arrived; `rows` is the size of the whole window.

    A KPI alarms when its whole 95 % interval lies beyond the limit: a threshold crossed by chance is not an alarm.
    """
    if not spec.monitors.kpi:
        return []
    prediction, outcome = spec.with_role("prediction")[0], spec.with_role("outcome")[0]
    frame = labelled.select(pl.col(prediction).alias("prediction"), pl.col(outcome).alias("outcome"))
    readings = []
    for rule in spec.monitors.kpi:
        kpi = KPIS[rule.metric]
        found = kpi.compute(frame)
        reason = found.reason
        if found.value is None and frame.is_empty():
            reason = f"no outcome has arrived yet for any of the {rows} rows"
        below = rule.min is not None and found.high is not None and found.high < rule.min
        above = rule.max is not None and found.low is not None and found.low > rule.max
        limit = rule.max if above or rule.min is None else rule.min
        readings.append(
            Reading(
                "kpi", rule.metric, found.value, reason, kpi.unit, found.n, low=found.low, high=found.high, limit=limit,
                alarm=below or above, details={"rows": rows, "higher_is_better": kpi.higher_is_better},
                sentence=_beyond(rule.metric, found, limit) if below or above else "",
            )
        )  # fmt: skip
    return readings


def _beyond(name: str, found: KpiValue | FairnessValue, limit: float | None) -> str:
    return f"{name} is {found.value:.3f} ({found.low:.3f}-{found.high:.3f}, n = {found.n}), beyond its limit {limit}."


def fairness_readings(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> list[Reading]:
    """Every fairness metric the spec names, for each protected column it names.

    Metrics that need outcomes see the rows whose outcome has arrived, the others every row of the window. Like a KPI, a
    metric alarms when its whole interval lies beyond the limit.
    """
    readings = []
    prediction = spec.with_role("prediction")[0]
    for rule in spec.monitors.fairness:
        metric = FAIRNESS[rule.metric]
        for by in rule.by:
            columns = [pl.col(prediction).alias("prediction"), pl.col(by)]
            if metric.needs_outcome:
                frame = labelled.select(*columns, pl.col(spec.with_role("outcome")[0]).alias("outcome"))
            else:
                frame = window.select(columns)
            found = metric.compute(frame, by, min_group=rule.min_group)
            above = rule.max is not None and found.low is not None and found.low > rule.max
            below = rule.min is not None and found.high is not None and found.high < rule.min
            limit = rule.min if below or rule.max is None else rule.max
            groups = [{"group": g.group, "n": g.n, "rates": g.rates, "too_small": g.too_small} for g in found.groups]
            readings.append(
                Reading(
                    "fairness", rule.metric, found.value, found.reason, metric.unit, found.n, column=by, low=found.low,
                    high=found.high, limit=limit, alarm=above or below,
                    details={
                        "groups": groups, "definition": found.definition, "positive": found.positive,
                        "min_group": rule.min_group,
                    },
                    sentence=_beyond(f"{rule.metric} by {by}", found, limit) if above or below else "",
                )
            )  # fmt: skip
    return readings


def check_metrics(spec: ModelSpec) -> None:
    """Refuse a spec that names a KPI or fairness metric nobody computes, or one that does not fit its task.

    Raises:
        SpecError: naming the field, the value and what exists.
    """
    problems = []
    for position, rule in enumerate(spec.monitors.kpi):
        fitting = sorted(name for name, kpi in KPIS.items() if spec.task in kpi.tasks)
        if rule.metric not in fitting:
            problems.append((f"monitors.kpi.{position}.metric", rule.metric, fitting))
    for position, fairness in enumerate(spec.monitors.fairness):
        if fairness.metric not in FAIRNESS:
            problems.append((f"monitors.fairness.{position}.metric", fairness.metric, sorted(FAIRNESS)))
    if problems:
        listed = [
            {"field": field, "value": value, "reason": f"not known for task {spec.task}; known: {', '.join(known)}"}
            for field, value, known in problems
        ]
        first = listed[0]
        raise SpecError(f"spec field {first['field']}: {first['value']!r} is {first['reason']}", problems=listed)

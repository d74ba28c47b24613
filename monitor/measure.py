"""The numbers of one window: drift, KPI and fairness readings in one shape, each with limit, interval and reason."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from monitor.decide import Decision
from monitor.drift import METHODS, TEXT_METHODS, Score
from monitor.drift.rows import ROW_METHODS
from monitor.fairness import FAIRNESS, FairnessValue
from monitor.kpi import KPIS
from monitor.kpi.base import KpiValue
from monitor.kpi.expression import Expression, ExpressionError, parse
from monitor.schema import KpiRule, ModelSpec, SpecError

AT_CONFIRMATION: Final = "needs raw rows: computed for the window that opens a drift alert, when that is confirmed"


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
    estimated: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None
    estimate_inside: bool | None = None
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
            details={} if score.expected is None else {"expected": score.expected},  # without drift
        )
        for score in scores
    ]  # fmt: skip
    return readings + _of_rows(AT_CONFIRMATION, n, n_reference)


def unjudged_readings(reason: str, n: int) -> list[Reading]:
    """The p value and the catalogue of a window that was not compared with anything: null, with the reason."""
    p = Reading("drift", "p_value", None, reason, "probability", n)
    units = [(m.name, m.unit) for m in METHODS.values()] + [(m.name, m.unit) for m in TEXT_METHODS.values()]
    return [p, *(Reading("drift", name, None, reason, unit, n) for name, unit in units), *_of_rows(reason, n, None)]


def _of_rows(reason: str, n: int, n_reference: int | None) -> list[Reading]:
    return [
        Reading("drift", m.name, None, reason, m.unit, n, n_reference=n_reference, details={"expected": m.unchanged})
        for m in ROW_METHODS.values()
    ]


def kpi_readings(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> list[Reading]:
    """Every KPI the spec names: those that need outcomes on the rows whose outcome has arrived, the others on all rows.

    A KPI alarms when its whole 95 % interval lies beyond the limit: a threshold crossed by chance is not an alarm.
    """
    readings = []
    for rule in spec.monitors.kpi:
        waiting = bool(_outcomes_read(spec, rule))
        rows = rows_for(spec, rule, labelled, window)
        found, unit, better = computed(spec, rule, rows)
        reason = found.reason
        if found.value is None and rows.is_empty():
            reason = f"no outcome has arrived yet for any of the {window.height} rows" if waiting else "no rows"
        below = rule.min is not None and found.high is not None and found.high < rule.min
        above = rule.max is not None and found.low is not None and found.low > rule.max
        limit = rule.max if above or rule.min is None else rule.min
        readings.append(
            Reading(
                "kpi", rule.metric, found.value, reason, unit, found.n, column=rule.column or "", low=found.low,
                high=found.high, limit=limit, alarm=below or above,
                details={
                    "rows": window.height, "waits": waiting,
                    "coverage": rows.height / window.height if window.height else None,
                    "higher_is_better": better, "left_out": found.left_out,
                },
                sentence=_beyond(rule.metric, found, limit) if below or above else "",
            )
        )  # fmt: skip
    return readings


def computed(spec: ModelSpec, rule: KpiRule, rows: pl.DataFrame) -> tuple[KpiValue, str, bool | None]:
    """A KPI of some rows, its unit, and whether more of it is better."""
    if rule.expression is not None:
        return _expression(spec, rule).compute(rows), rule.unit or "number", None
    kpi = KPIS[rule.metric]
    unit = kpi.unit if kpi.unit != "column" or not rule.column else spec.columns[rule.column].unit or "column"
    return kpi.compute(kpi_frame(spec, rule, rows)), unit, kpi.higher_is_better


def _expression(spec: ModelSpec, rule: KpiRule) -> Expression:
    assert rule.expression is not None
    return parse(rule.expression, {name: c.type for name, c in spec.columns.items() if c.role != "subject"})


def rows_for(spec: ModelSpec, rule: KpiRule, labelled: pl.DataFrame, window: pl.DataFrame) -> pl.DataFrame:
    """The rows a KPI can be computed on: of one that reads outcomes, those where one of these has arrived."""
    if not (read := _outcomes_read(spec, rule)):
        return window
    return labelled.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in read))


def _outcomes_read(spec: ModelSpec, rule: KpiRule) -> list[str]:
    if rule.expression is not None:
        return [name for name in _expression(spec, rule).columns if spec.columns[name].role == "outcome"]
    named = [rule.column] if rule.column is not None and spec.columns[rule.column].role == "outcome" else []
    return named + ([spec.with_role("outcome")[0]] if "outcome" in KPIS[rule.metric].reads else [])


def kpi_frame(spec: ModelSpec, rule: KpiRule, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns a KPI reads, under the names it knows them by."""
    found = []
    for part in KPIS[rule.metric].reads:
        name = rule.column if part == "column" else spec.with_role(part)[0]
        assert name is not None  # check_metrics let this spec in
        found.append(pl.col(name).alias(part))
        if part == "score" and (positive := spec.columns[name].positive) is not None:
            found.append(pl.lit(positive).alias("positive"))
    return rows.select(found)


def _beyond(name: str, found: KpiValue | FairnessValue, limit: float | None) -> str:
    low, high = ("not bounded" if x is None else f"{x:.3f}" for x in (found.low, found.high))
    return f"{name} is {found.value:.3f} ({low}-{high}, n = {found.n}), beyond its limit {limit}."


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
    """Refuse a spec that names a KPI or fairness metric nobody computes, or one that does not fit what it declares.

    Raises:
        SpecError: naming the field, the value and what exists.
    """
    problems = [problem for at, rule in enumerate(spec.monitors.kpi) for problem in _kpi_problems(spec, at, rule)]
    problems += [
        (f"monitors.fairness.{at}.metric", rule.metric, _unknown(spec, FAIRNESS))
        for at, rule in enumerate(spec.monitors.fairness)
        if rule.metric not in FAIRNESS
    ]
    problems += [
        (f"monitors.drift.thresholds.{name}", name, f"is not known; known: {', '.join(METHODS)}")
        for name in spec.monitors.drift.thresholds
        if name not in METHODS
    ]
    if problems:
        listed = [{"field": field, "value": value, "reason": reason} for field, value, reason in problems]
        field, value, reason = problems[0]
        raise SpecError(f"spec field {field}: {value!r} {reason}", problems=listed)


def _unknown(spec: ModelSpec, known: Iterable[str]) -> str:
    return f"is not known for task {spec.task}; known: {', '.join(sorted(known))}"


def _kpi_problems(spec: ModelSpec, at: int, rule: KpiRule) -> Iterator[tuple[str, str | None, str]]:
    field = f"monitors.kpi.{at}"
    if rule.metric in [other.metric for other in spec.monitors.kpi[:at]]:
        yield f"{field}.metric", rule.metric, "is named twice; give both limits in one rule"
    if rule.expression is not None:
        yield from _expression_problems(spec, field, rule)
        return
    if rule.unit is not None:
        yield f"{field}.unit", rule.unit, "belongs to a KPI with an expression; leave it out"
    fitting = [name for name, kpi in KPIS.items() if spec.task in kpi.tasks]
    if rule.metric not in fitting:
        yield f"{field}.metric", rule.metric, f"{_unknown(spec, fitting)}; a KPI of your own has an expression"
        return
    kpi = KPIS[rule.metric]
    for role in ("outcome", "score"):
        if role in kpi.reads and not spec.with_role(role):
            yield f"{field}.metric", rule.metric, f"needs a column with role {role}; none is declared"
        elif role == "score" and role in kpi.reads and spec.columns[spec.with_role(role)[0]].type != "number":
            yield f"{field}.metric", rule.metric, "needs a score of type number"
    if kpi.column_types and rule.column is None:
        fit = [name for name, c in spec.columns.items() if c.type in kpi.column_types and c.role != "subject"]
        wanted = " or ".join(kpi.column_types)
        named = ", ".join(fit) or "none is declared"
        yield f"{field}.column", None, f"is missing; {rule.metric} reads a {wanted} column: {named}"
    elif rule.column is not None and not kpi.column_types:
        yield f"{field}.column", rule.column, f"is not read by {rule.metric}; leave it out"
    elif rule.column is not None and spec.columns[rule.column].type not in kpi.column_types:
        found = spec.columns[rule.column].type
        yield f"{field}.column", rule.column, f"has type {found}; {rule.metric} needs {' or '.join(kpi.column_types)}"


def _expression_problems(spec: ModelSpec, field: str, rule: KpiRule) -> Iterator[tuple[str, str | None, str]]:
    if rule.metric in KPIS:
        yield f"{field}.metric", rule.metric, "is a KPI of the catalogue; give your own another name"
    if rule.column is not None:
        yield f"{field}.column", rule.column, "is not read with an expression; name the column inside it"
    try:
        _expression(spec, rule)
    except ExpressionError as error:
        yield f"{field}.expression", rule.expression, error.message

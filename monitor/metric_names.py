"""Checks that the metrics a spec names exist and fit the columns it declares."""

from collections.abc import Iterable, Iterator

from monitor.drift import METHODS
from monitor.fairness import FAIRNESS
from monitor.kpi import KPIS
from monitor.kpi.expression import Expression, ExpressionError, parse
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule, KpiRule
from monitor.spec.parse import SpecError
from monitor.spec.problems import nearest, shown


def expression_of(spec: ModelSpec, rule: KpiRule) -> Expression:
    """The parsed expression of a KPI rule that has one.

    Raises:
        ExpressionError: the expression is wrong, or names a column that does not exist or has role subject.
    """
    assert rule.expression is not None
    return parse(rule.expression, {name: c.type for name, c in spec.columns.items() if c.role != "subject"})


def check_metrics(spec: ModelSpec) -> None:
    """Check that every metric of a spec exists, and fits the task and the columns that the spec declares.

    Raises:
        SpecError: with every problem found; each names the field, its value and what exists.
    """
    problems = [problem for at, rule in enumerate(spec.monitors.kpi) for problem in _kpi_problems(spec, at, rule)]
    problems += [p for at, rule in enumerate(spec.monitors.fairness) for p in _fairness_problems(spec, at, rule)]
    problems += [
        (f"monitors.drift.thresholds.{name}", name, f"is not known; known: {', '.join(METHODS)}")
        for name in spec.monitors.drift.thresholds
        if name not in METHODS
    ]
    problems += _unwatchable(spec)
    if problems:
        listed = [
            {"field": field, "value": None if value is None else shown(value), "reason": reason}
            for field, value, reason in problems
        ]
        first = listed[0]
        said = "" if first["value"] is None else f"{first['value']} "
        raise SpecError(f"spec field {first['field']}: {said}{first['reason']}", problems=listed)


def _fairness_problems(spec: ModelSpec, at: int, rule: FairnessRule) -> Iterator[tuple[str, str | None, str]]:
    field, metric = f"monitors.fairness[{at}].metric", FAIRNESS.get(rule.metric)
    if metric is None:
        yield field, rule.metric, _unknown(spec, rule.metric, (n for n, m in FAIRNESS.items() if m.task == spec.task))
        return
    texts = _outcome_type(spec) == "texts"
    if metric.task == "classification" and spec.task != "classification" and (metric.needs_outcome and texts):
        yield field, rule.metric, "compares classes, and the outcome is texts; name a metric without outcome"
    elif metric.task != spec.task:
        fitting = ", ".join(n for n, m in FAIRNESS.items() if m.task == spec.task)
        yield field, rule.metric, f"is for task {metric.task}, and this is {spec.task} (known there: {fitting})"
    elif "score" in metric.needs and not any(spec.columns[name].type == "number" for name in spec.with_role("score")):
        yield field, rule.metric, "needs a column with role score and type number; none is declared"


def _outcome_type(spec: ModelSpec) -> str | None:
    return None if spec.target is None else spec.columns[spec.target].type


def _unwatchable(spec: ModelSpec) -> Iterator[tuple[str, str | None, str]]:
    """Columns that are named to be watched for drift and cannot be; and a spec that watches nothing at all."""
    chosen, monitors = spec.monitors.drift.columns, spec.monitors
    if chosen == "all":
        return
    for at, name in enumerate(chosen):
        column = spec.columns[name]
        if column.role in ("subject", "outcome") or column.type == "string":
            what = f"role {column.role}" if column.role in ("subject", "outcome") else "type string"
            yield f"monitors.drift.columns[{at}]", name, f"has {what}, which is not watched for drift; leave it out"
    if not chosen and not monitors.kpi and not monitors.fairness:
        yield (
            "monitors.drift.columns",
            None,
            "is empty, and no KPI is declared: name a column to watch, or leave it out",
        )


def _unknown(spec: ModelSpec, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"is not known for task {spec.task}{nearest(name, names)} (known: {', '.join(names)})"


def _kpi_problems(spec: ModelSpec, at: int, rule: KpiRule) -> Iterator[tuple[str, str | None, str]]:
    field = f"monitors.kpi[{at}]"
    if rule.metric in [other.metric for other in spec.monitors.kpi[:at]]:
        yield f"{field}.metric", rule.metric, "is named twice; give both limits in one rule"
    if rule.expression is not None:
        yield from _expression_problems(spec, field, rule)
        return
    if rule.unit is not None:
        yield f"{field}.unit", rule.unit, "belongs to a KPI with an expression; leave it out"
    fitting = [name for name, kpi in KPIS.items() if spec.task in kpi.tasks]
    if rule.metric not in fitting:
        yield (
            f"{field}.metric",
            rule.metric,
            f"{_unknown(spec, rule.metric, fitting)}; a KPI of your own has an expression",
        )
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
        expression_of(spec, rule)
    except ExpressionError as error:
        yield f"{field}.expression", rule.expression, error.message

"""How pages and reports word metrics, units, thresholds, budgets and confirmations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from monitor.spec.false_alarm_budget import share
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import AlphaBudget
from monitor.tables import Alert
from reports.charts.text import number

WHY = {
    "collecting_reference": "the reference was still being collected",
    "reference": "the rows belong to the reference itself",
    "not_enough_data": "too few rows",
    "reference_too_short": "the reference was too short for the declared budget",
    "not_encoded": "no text could be encoded",
    "volume_changed": "the traffic volume changed too much to judge the distribution",
}
OWN_UNIT: Final = "the column's own"
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)")
# What the monitor derives from a text column, in words, and the unit of its mean.
DERIVED: Final[Mapping[str, tuple[str, str]]] = {
    "oov": ("share of unknown words", "share"),
    "distance": ("distance from known requests", "distance"),
    "length": ("length", "characters"),
    "cluster": ("kind of request", "share"),
}


def column_words(column: str) -> str:
    """`text: share of unknown words` for `text.oov`; other columns as they are.

    Components are directions in which the texts or vectors of the reference vary most, without a name of their own.
    """
    base, _, derived = column.rpartition(".")
    if base and derived in DERIVED:
        return f"{base}: {DERIVED[derived][0]}"
    if base and derived.startswith("component_"):
        return f"{base}: {derived.replace('_', ' ')}"
    return column


def mean_words(column: str) -> str:
    """What follows `a change of the mean`: `share of unknown words in text`, or `of amount`."""
    base, _, derived = column.rpartition(".")
    return f"{DERIVED[derived][0]} in {base}" if base and derived in DERIVED else f"of {column}"


def unit_of(spec: ModelSpec, column: str, unit: str) -> str:
    """The unit that the spec declares for a column, where a number is in the column's own."""
    declared = spec.columns.get(column)
    return declared.unit if unit == OWN_UNIT and declared is not None and declared.unit else unit


def unit_words(column: str, unit: str) -> str:
    base, _, derived = column.rpartition(".")
    if unit == OWN_UNIT:
        return DERIVED[derived][1] if base and derived in DERIVED else "own unit"
    return "share" if unit == "share of rows" else unit


def metric_words(metric: str) -> str:
    return metric.replace("_", " ")


def brief_words(reason: str, triggers: Sequence[Mapping[str, Any]]) -> str:
    """The reason of a retraining decision: the triggers that fire, or the names of all triggers if none does."""
    firing = [t for t in triggers if t.get("fire")]
    if firing:
        words = "; ".join(f"{metric_words(str(t.get('name')))}: {t.get('reason') or 'fires'}" for t in firing)
    elif triggers and not reason.partition(":")[0].endswith("fires"):
        words = reason
    elif triggers:
        words = f"nothing fires ({', '.join(metric_words(str(t.get('name'))) for t in triggers)})"
    else:
        words = reason
    return _MOMENT.sub(r"\1 \2 UTC", words)


def held_words(triggers: Sequence[Mapping[str, Any]], blocked_by: Sequence[Mapping[str, Any]]) -> str:
    """What blocked a retrain: with the reasons if a trigger fired, else by name alone."""
    reasons = any(t.get("fire") for t in triggers) or not triggers
    names = [(metric_words(str(b.get("name") or "?")), brief_words(str(b.get("reason") or ""), ())) for b in blocked_by]
    return "; ".join(f"{name}: {why}" for name, why in names) if reasons else ", ".join(name for name, _ in names)


def rule_words(spec: ModelSpec) -> dict[tuple[str, str], str]:
    """Every threshold of a spec in words, by monitor and metric."""
    found = {("drift", "false alarms"): budget_words(spec)}
    for kpi in spec.monitors.kpi:
        bounds = [f"{word} {value:g}" for word, value in (("min", kpi.min), ("max", kpi.max)) if value is not None]
        found["kpi", kpi.metric] = " and ".join(bounds) or "measured without a limit"
    for rule in spec.monitors.fairness:
        bounds = [f"{word} {value:g}" for word, value in (("min", rule.min), ("max", rule.max)) if value is not None]
        limit = " and ".join(bounds) or "measured without a limit"
        found["fairness", rule.name] = f"{limit} by {', '.join(rule.by)}, groups of at least {rule.min_group}"
    if spec.retrain is not None:
        envelope = spec.retrain.envelope
        found["retrain", "envelope"] = (
            f"at most {envelope.max_rows:,} rows, {envelope.max_gpu_hours:g} hours, "
            f"regression {envelope.max_regression:g}, forgetting {envelope.max_forgetting:g}"
        )
        found["retrain", "approval"] = f"{spec.retrain.approval} needed, cooldown {spec.retrain.cooldown}"
        found["retrain", "gates"] = ", ".join(spec.retrain.gates)
    return found


def budget_words(spec: ModelSpec) -> str:
    """The declared false-alarm budget, the alpha it gives one window, and the share that drift may spend."""
    declared = spec.monitors.false_alarms
    scales = spec.monitors.scales
    drift = f"of which drift may spend {share(spec, 'drift'):.0%}"
    if not scales:  # they are chosen for each reference
        each = f"alpha {declared.alpha:g} per window" if isinstance(declared, AlphaBudget) else declared
        return f"{each} for the whole model, with windows of lengths chosen from the traffic, {drift}"
    if isinstance(declared, AlphaBudget):
        return f"alpha {declared.alpha:g} per window ({', '.join(scales)}) for the whole model, {drift}"
    shared = ", ".join(f"{spec.monitors.alpha(scale):.3g} per window of {scale}" for scale in scales)
    return f"{declared} for the whole model, which is alpha {shared}, {drift}"


def limit_word(spec: ModelSpec, monitor: str, metric: str) -> str:
    """`min` or `max`, as declared for a metric; `limit` where both or neither are."""
    kpis = [(rule.metric, rule) for rule in spec.monitors.kpi]
    chosen = kpis if monitor == "kpi" else [(rule.name, rule) for rule in spec.monitors.fairness]
    for name, rule in chosen:
        if name == metric and (rule.min is None) != (rule.max is None):
            return "min" if rule.min is not None else "max"
    return "limit"


def confirmation_words(alert: Alert) -> str:
    """The result of the confirmation on the raw rows."""
    if alert.confirmation_error:
        return f"not confirmed: {alert.confirmation_error}"
    if not alert.confirmation:
        return "not made" if alert.monitor == "drift" else "not applicable"
    named = ", ".join(map(str, alert.confirmation.get("drifted_columns") or []))
    parts = [
        f"{s['method'].replace('_', ' ')} {number(s['value'])} ({s['unchanged']:g} without drift)"
        for s in alert.confirmation.get("statistics") or []
        if s["value"] is not None
    ]
    if (erased := alert.confirmation.get("erased")) is not None:
        parts.append(f"its report on the raw rows was removed by erasure {erased['erasure']}")
    methods = {(c["method"], c["threshold"]): None for c in alert.confirmation.get("columns") or []}
    by = ", ".join(f"{method.replace('_', ' ')} from {threshold:g} on" for method, threshold in methods)
    parts = [f"drift is {by}", *parts] if by else parts
    return "; ".join([f"Evidently on the raw rows: {named or 'no column'} drifted", *parts])

"""Answers of the first page: verdicts, plan against execution, and what was not measured. Facts in, lines out."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from monitor.spec.budget import share
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import AlphaBudget
from monitor.spec.retraining import Cron
from monitor.tables import Alert, Window
from reports.charts import number
from reports.document import (
    AlertLine,
    Answer,
    DecisionLine,
    MeasureLine,
    PlanLine,
    RunLine,
    Unmeasured,
    VerdictLine,
    VisibleLine,
)
from retrain.triggers.schedule import next_tick

WHY = {
    "collecting_reference": "the reference was still being collected",
    "reference": "the rows belong to the reference itself",
    "not_enough_data": "too few rows",
    "reference_too_short": "the reference was too short for the declared budget",
    "not_encoded": "no text could be encoded",
    "volume_changed": "the traffic volume changed too much to judge the mix",
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


def brief(reason: str, triggers: Sequence[Mapping[str, Any]]) -> str:
    """Why a retrain was considered worth it or not: the triggers that fire, or their names when none does."""
    firing = [t for t in triggers if t.get("fire")]
    if firing:
        said = "; ".join(f"{metric_words(str(t.get('name')))}: {t.get('reason') or 'fires'}" for t in firing)
    elif triggers and not reason.partition(":")[0].endswith("fires"):
        said = reason
    elif triggers:
        said = f"nothing fires ({', '.join(metric_words(str(t.get('name'))) for t in triggers)})"
    else:
        said = reason
    return _MOMENT.sub(r"\1 \2 UTC", said)


def held(triggers: Sequence[Mapping[str, Any]], blocked_by: Sequence[Mapping[str, Any]]) -> str:
    """What held a retrain back: with the reason where something fired, else by name alone."""
    reasons = any(t.get("fire") for t in triggers) or not triggers
    names = [(metric_words(str(b.get("name") or "?")), brief(str(b.get("reason") or ""), ())) for b in blocked_by]
    return "; ".join(f"{name}: {why}" for name, why in names) if reasons else ", ".join(name for name, _ in names)


def rules(spec: ModelSpec) -> dict[tuple[str, str], str]:
    """Every threshold of a spec in words, by monitor and metric."""
    found = {("drift", "false alarms"): budget(spec)}
    for kpi in spec.monitors.kpi:
        bounds = [f"{word} {value:g}" for word, value in (("min", kpi.min), ("max", kpi.max)) if value is not None]
        found["kpi", kpi.metric] = " and ".join(bounds) or "measured without a limit"
    for rule in spec.monitors.fairness:
        bounds = [f"{word} {value:g}" for word, value in (("min", rule.min), ("max", rule.max)) if value is not None]
        limit = " and ".join(bounds) or "measured without a limit"
        found["fairness", rule.metric] = f"{limit} by {', '.join(rule.by)}, groups of at least {rule.min_group}"
    if spec.retrain is not None:
        envelope = spec.retrain.envelope
        found["retrain", "envelope"] = (
            f"at most {envelope.max_rows:,} rows, {envelope.max_gpu_hours:g} hours, "
            f"regression {envelope.max_regression:g}, forgetting {envelope.max_forgetting:g}"
        )
        found["retrain", "approval"] = f"{spec.retrain.approval} needed, cooldown {spec.retrain.cooldown}"
        found["retrain", "gates"] = ", ".join(spec.retrain.gates)
    return found


def budget(spec: ModelSpec) -> str:
    """The declared false-alarm budget, what it leaves for one window, and the part of it that drift may spend."""
    declared = spec.monitors.false_alarms
    scales = spec.monitors.scales
    drift = f"of which drift may spend {share(spec, 'drift'):.0%}"
    if isinstance(declared, AlphaBudget):
        return f"alpha {declared.alpha:g} per window ({', '.join(scales)}) for the whole model, {drift}"
    shared = ", ".join(f"{spec.monitors.alpha(scale):.3g} per window of {scale}" for scale in scales)
    return f"{declared} for the whole model, which is alpha {shared}, {drift}"


def limit_word(spec: ModelSpec, monitor: str, metric: str) -> str:
    """`min` or `max`, as declared for a metric; `limit` where both or neither are."""
    chosen = spec.monitors.kpi if monitor == "kpi" else spec.monitors.fairness
    for rule in chosen:
        if rule.metric == metric and (rule.min is None) != (rule.max is None):
            return "min" if rule.min is not None else "max"
    return "limit"


def confirmation(alert: Alert) -> str:
    """What the second look at the raw rows said."""
    if alert.confirmation_error:
        return f"not confirmed: {alert.confirmation_error}"
    if not alert.confirmation:
        return "not made" if alert.monitor == "drift" else "not applicable"
    named = ", ".join(map(str, alert.confirmation.get("drifted_columns") or []))
    told = [
        f"{s['method'].replace('_', ' ')} {number(s['value'])} ({s['unchanged']:g} without drift)"
        for s in alert.confirmation.get("statistics") or []
        if s["value"] is not None
    ]
    if (erased := alert.confirmation.get("erased")) is not None:
        told.append(f"its report on the raw rows was removed by erasure {erased['erasure']}")
    return "; ".join([f"Evidently on the raw rows: {named or 'no column'} drifted", *told])


def plan(
    spec: ModelSpec,
    windows: Sequence[Window],
    kpi: Sequence[MeasureLine],
    fairness: Sequence[MeasureLine],
    alerts: Sequence[AlertLine],
    decisions: Sequence[DecisionLine],
    since: datetime,
    until: datetime,
) -> tuple[PlanLine, ...]:
    """What the spec asked for against what was done in the period."""
    lines = []
    missing = _missing_numbers(windows)
    why = "" if not missing else f"{missing} window numbers have no record"
    lines.append(
        PlanLine(
            planned="close windows without a gap",
            due=len(windows) + missing,
            done=len(windows),
            missed=missing,
            why=why,
        )
    )
    judged = [w for w in windows if w.decision["judged"]]
    reasons = Counter(str(w.decision.get("verdict")) for w in windows if not w.decision["judged"])
    lines.append(
        _line("judge drift in every window", len(windows), len(judged), {WHY.get(k, k): n for k, n in reasons.items()})
    )
    for rule in spec.monitors.kpi:
        lines.append(
            _measured(
                f"measure {metric_words(rule.metric)} in every window",
                [m for m in kpi if m.metric == rule.metric and not m.segment],
                windows,
            )
        )
    for fair in spec.monitors.fairness:
        for by in fair.by:
            mine = [
                m
                for m in fairness
                if m.metric == fair.metric and m.column in (by, "") and (m.column == by or len(fair.by) == 1)
            ]
            lines.append(_measured(f"measure {metric_words(fair.metric)} by {by} in every window", mine, windows))
    drift_alerts = [a for a in alerts if a.monitor == "drift"]
    if drift_alerts:
        unconfirmed = Counter(a.confirmation for a in drift_alerts if a.confirmation.startswith("not"))
        done = len(drift_alerts) - sum(unconfirmed.values())
        lines.append(_line("confirm drift alarms on the raw rows", len(drift_alerts), done, unconfirmed))
    if spec.retrain is not None:
        crons = [t.cron for t in spec.retrain.when if isinstance(t, Cron)]
        for cron in crons:
            due = _firings(cron, since, until)
            done = sum(1 for d in decisions if d.cause == "schedule")
            lines.append(
                PlanLine(
                    planned=f"consider a retrain at {cron} UTC",
                    due=due,
                    done=done,
                    missed=max(0, due - done),
                    why="" if done >= due else "no decision of this schedule is recorded",
                )
            )
        lines.append(
            PlanLine(
                planned="consider a retrain after windows",
                due=None,
                done=sum(1 for d in decisions if d.cause == "window"),
                missed=None,
                why="",
            )
        )
    return tuple(lines)


def _line(planned: str, due: int, done: int, reasons: Counter[str] | dict[str, int]) -> PlanLine:
    why = "; ".join(f"{n} × {reason}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1]))
    return PlanLine(planned=planned, due=due, done=done, missed=max(0, due - done), why=why)


def _measured(planned: str, lines: Sequence[MeasureLine], windows: Sequence[Window]) -> PlanLine:
    reasons = Counter(m.reason or "no reason recorded" for m in lines if m.value is None)
    without = len(windows) - len(lines)
    if without > 0:
        reasons["no record of this metric"] = without
    return _line(planned, len(windows), sum(1 for m in lines if m.value is not None), reasons)


def _missing_numbers(windows: Sequence[Window]) -> int:
    seen: dict[tuple[str, str], set[int]] = {}
    for w in windows:
        seen.setdefault((str(w.baseline_id), w.scale), set()).add(w.number)
    return sum(max(numbers) - min(numbers) + 1 - len(numbers) for numbers in seen.values())


def _firings(cron: str, since: datetime, until: datetime) -> int:
    count, at = 0, next_tick(cron, since)
    while at is not None and at < until and count < 100_000:
        count, at = count + 1, next_tick(cron, at)
    return count


def unmeasured(
    spec: ModelSpec, windows: Sequence[Window], kpi: Sequence[MeasureLine], explained: int, planned: Sequence[PlanLine]
) -> tuple[Unmeasured, ...]:
    """Everything a reader might expect and will not find, with the reason."""
    lines = [
        Unmeasured(
            what=line.planned.replace("in every window", "in some windows"),
            why=line.why or "no record",
            count=line.missed,
        )
        for line in planned
        if line.missed
    ]
    if not windows:
        lines.append(Unmeasured(what="the whole period", why="no window ended in it", count=None))
    if not spec.monitors.kpi:
        lines.append(Unmeasured(what="KPIs", why="the spec declares none", count=None))
    elif spec.monitors.estimate and not any(m.estimated is not None for m in kpi):
        lines.append(
            Unmeasured(
                what="KPI estimates before outcomes arrive",
                why=next((m.estimate_note for m in reversed(kpi) if m.estimate_note), "no KPI waits for outcomes"),
                count=None,
            )
        )
    if not spec.monitors.fairness:
        protected = spec.with_role("protected")
        why = (
            f"the spec declares no rule for {', '.join(protected)}"
            if protected
            else "the spec declares no protected column"
        )
        lines.append(Unmeasured(what="fairness between groups", why=why, count=None))
    if not explained:
        lines.append(
            Unmeasured(what="explanations of single decisions", why="none was asked for in the period", count=None)
        )
    if spec.retrain is None:
        lines.append(Unmeasured(what="retraining", why="the spec declares no retrain policy", count=None))
    return tuple(lines)


def visible(windows: Sequence[Window], spec: ModelSpec) -> tuple[VisibleLine, ...]:
    """Range over the judged windows of the smallest change each column would have shown."""
    seen: dict[tuple[str, str], list[float]] = {}
    for window in windows:
        for v in window.decision.get("visible") or []:
            unit = unit_of(spec, str(v["column"]), str(v["unit"]))
            seen.setdefault((str(v["column"]), unit), []).append(float(v["change"]))
    return tuple(
        VisibleLine(column=column, smallest=min(values), largest=max(values), unit=unit, windows=len(values))
        for (column, unit), values in seen.items()
    )


def verdicts(
    spec: ModelSpec,
    windows: Sequence[Window],
    kpi: Sequence[MeasureLine],
    fairness: Sequence[MeasureLine],
    alerts: Sequence[AlertLine],
    runs: Sequence[RunLine],
) -> tuple[VerdictLine, ...]:
    """The verdict table: one question, one answer, one sentence of numbers, one place to look."""
    lines = [_watched(windows), _drifted(windows)]
    for rule in spec.monitors.kpi:
        mine = [m for m in kpi if m.metric == rule.metric and not m.segment]
        lines.append(_limit(f"Did {metric_words(rule.metric)} stay inside its limit?", mine, "4"))
    for fair in spec.monitors.fairness:
        mine = [m for m in fairness if m.metric == fair.metric]
        lines.append(_limit(f"Did {metric_words(fair.metric)} stay inside its limit?", mine, "5"))
    lines.append(_answered(alerts))
    lines.append(_retrained(spec, runs))
    return tuple(lines)


def _watched(windows: Sequence[Window]) -> VerdictLine:
    tested = sum(1 for w in windows if w.decision["judged"])
    rows = sum({(w.from_seq, w.to_seq): w.rows for w in windows}.values())
    answer: Answer = "not measured" if not windows else "held" if tested == len(windows) else "not held"
    judged = f"{tested} of {len(windows)} windows judged for drift (why not the others: 1.2); {rows:,} rows"
    finding = judged if windows else "no window ended in the period"
    return VerdictLine(question="Was every window judged for drift?", answer=answer, finding=finding, section="2")


def _drifted(windows: Sequence[Window]) -> VerdictLine:
    judged = [w for w in windows if w.decision["judged"]]
    alarmed = [w for w in judged if w.decision.get("verdict") == "drift"]
    answer: Answer = "not measured" if not judged else "not held" if alarmed else "held"
    expected = sum(float(w.decision.get("alpha") or 0.0) for w in judged)
    finding = (
        f"{len(alarmed)} of {len(judged)} judged windows drifted; {expected:.2g} false alarms expected by the budget"
    )
    return VerdictLine(
        question="Did inputs and answers stay as in the reference?",
        answer=answer,
        finding=finding if judged else "no window was judged",
        section="3",
    )


def _limit(question: str, lines: Sequence[MeasureLine], section: str) -> VerdictLine:
    measured = [m for m in lines if m.value is not None]
    if not measured:
        why = lines[-1].reason if lines else "no record"
        return VerdictLine(question=question, answer="not measured", finding=str(why), section=section)
    limited = [m for m in measured if m.limit is not None]
    if not limited:
        newest = measured[-1]
        return VerdictLine(
            question=question,
            answer="none",
            finding=f"no limit declared; last value {number(newest.value)}, n = {newest.n:,}",
            section=section,
        )
    alarmed = [m for m in limited if m.alarm]
    worst = (max if limited[-1].limit_word == "max" else min)(limited, key=lambda m: m.value or 0.0)
    between = f"{number(worst.low)} to {number(worst.high)}"
    finding = (
        f"{len(alarmed)} of {len(limited)} windows wholly beyond {worst.limit_word} {worst.limit:g}; "
        f"worst {number(worst.value)} ({between}), n = {worst.n:,}"
    )
    return VerdictLine(question=question, answer="not held" if alarmed else "held", finding=finding, section=section)


def _answered(alerts: Sequence[AlertLine]) -> VerdictLine:
    waiting = [a for a in alerts if a.state == "open"]
    resolved = [a for a in alerts if a.state == "resolved"]
    answer: Answer = "none" if not alerts else "not held" if waiting else "held"
    seen = len(alerts) - len(resolved) - len(waiting)
    finding = f"{_many(len(alerts), 'alert')}: {len(resolved)} resolved, {seen} acknowledged, {len(waiting)} open"
    return VerdictLine(
        question="Was every alert answered by a person?",
        answer=answer,
        finding=finding if alerts else "no alert in the period",
        section="6",
    )


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _retrained(spec: ModelSpec, runs: Sequence[RunLine]) -> VerdictLine:
    question = "Did every promotion pass its gates?"
    if spec.retrain is None:
        return VerdictLine(
            question=question, answer="not measured", finding="the spec declares no retrain policy", section="7"
        )
    promoted = [r for r in runs if r.state == "promoted"]
    unproven = [r for r in promoted if not r.gates or any(g.verdict != "pass" for g in r.gates)]
    blocked = [r for r in runs if r.state in ("rejected", "failed")]
    answer: Answer = "none" if not promoted else "not held" if unproven else "held"
    finding = f"{_many(len(runs), 'run')}: {len(promoted)} promoted, {len(blocked)} blocked or failed"
    return VerdictLine(
        question=question, answer=answer, finding=finding if runs else "no retrain in the period", section="7"
    )

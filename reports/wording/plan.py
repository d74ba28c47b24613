"""The monitoring plan of a report: what the spec planned to measure, and how much was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from core.errors import InvalidError
from monitor.fairness.grouping import grouped_by
from monitor.spec.model import ModelSpec
from monitor.spec.retraining import Retrain
from monitor.spec.triggers import Cron, KpiBreach, NewClasses, NewOutcomes, Trigger
from monitor.tables import Window
from reports.document import (
    AlertLine,
    DecisionLine,
    MeasureLine,
    PlanLine,
)
from reports.wording.phrases import WHY, metric_words
from retrain.triggers.schedule import next_tick


def plan_lines(
    spec: ModelSpec,
    windows: Sequence[Window],
    kpi: Sequence[MeasureLine],
    fairness: Sequence[MeasureLine],
    alerts: Sequence[AlertLine],
    decisions: Sequence[DecisionLine],
    since: datetime,
    until: datetime,
    declared: Mapping[str, datetime],
) -> tuple[PlanLine, ...]:
    """What the spec planned and what was done in the period.

    Args:
        declared: since when each schedule has been declared, by its words.
    """
    lines = [*_window_lines(windows), *_metric_lines(spec, windows, kpi, fairness)]
    drift_alerts = [a for a in alerts if a.monitor == "drift"]
    if drift_alerts:
        unconfirmed = Counter(a.confirmation for a in drift_alerts if a.confirmation.startswith("not"))
        done = len(drift_alerts) - sum(unconfirmed.values())
        lines.append(_line("confirm drift alarms on the raw rows", len(drift_alerts), done, unconfirmed))
    if spec.retrain is not None:
        lines += _retrain_lines(spec.retrain, decisions, since, until, declared)
    return tuple(lines)


def schedules(spec: ModelSpec) -> list[str]:
    """The schedules of a policy, in words."""
    return [t.words for t in spec.retrain.when if isinstance(t, Cron)] if spec.retrain else []


def policy_words(policy: Retrain | None, now: datetime) -> str:
    """What starts a run of a policy, when its schedules fall due next, and what holds a run back."""
    if policy is None:
        return ""
    causes = "; ".join(_cause_words(one, now) for one in policy.when)
    hours = f", only {policy.allowed_hours.words}" if policy.allowed_hours else ""
    return f"A run starts on {causes}{hours}; at the earliest {policy.cooldown} after the last one began."


def _cause_words(one: Trigger, now: datetime) -> str:
    match one:
        case "drift":
            return "drift"
        case "kpi":
            return "a KPI past its limit, realised or estimated"
        case "fairness":
            return "a fairness metric past its limit"
        case "whole":
            return "a KPI of the whole past its limit, where this part got worse"
        case KpiBreach():
            return f"a KPI past its limit, {one.kpi}"
        case NewOutcomes():
            return f"{one.new_outcomes:,} new outcomes"
        case NewClasses():
            return f"new classes within {one.new_classes.per}"
        case Cron():
            try:
                tick = next_tick(one.cron, now, one.timezone)
            except InvalidError as error:  # stored by an earlier release
                return f"{one.words}, which never comes: {error.message}"
            return f"{one.words}, next at {tick:%Y-%m-%d %H:%M} UTC" if tick else f"{one.words}, which never comes"


def _window_lines(windows: Sequence[Window]) -> list[PlanLine]:
    missing, left_out = _missing_numbers(windows)
    unrecorded = [f"{missing} window numbers have no record"] if missing else []
    unrecorded += [f"{left_out} windows of stretches without rows are left out"] if left_out else []
    judged = sum(1 for w in windows if w.decision["judged"])
    reasons = Counter(str(w.decision.get("verdict")) for w in windows if not w.decision["judged"])
    return [
        PlanLine(
            planned="close windows without a gap", due=len(windows) + missing, done=len(windows), missed=missing,
            why="; ".join(unrecorded), own=True,
        ),
        _line("judge drift in every window", len(windows), judged, {WHY.get(k, k): n for k, n in reasons.items()}),
    ]  # fmt: skip


def _metric_lines(
    spec: ModelSpec, windows: Sequence[Window], kpi: Sequence[MeasureLine], fairness: Sequence[MeasureLine]
) -> list[PlanLine]:
    lines = []
    for rule in spec.monitors.kpi:
        mine = [m for m in kpi if m.metric == rule.metric and not m.segment]
        lines.append(_measured(f"measure {metric_words(rule.metric)} in every window", mine, windows))
    for fair in spec.monitors.fairness:
        for by in (grouped_by(columns) for columns in fair.groupings):
            mine = [
                m
                for m in fairness
                if m.metric == fair.name and m.column in (by, "") and (m.column == by or len(fair.by) == 1)
            ]
            lines.append(_measured(f"measure {metric_words(fair.name)} by {by} in every window", mine, windows))
    return lines


def _retrain_lines(
    policy: Retrain, decisions: Sequence[DecisionLine], since: datetime, until: datetime,
    declared: Mapping[str, datetime],
) -> list[PlanLine]:  # fmt: skip
    lines = []
    scheduled = sum(1 for d in decisions if d.cause == "schedule")
    for one in [t for t in policy.when if isinstance(t, Cron)]:
        why = "no decision of this schedule is recorded"
        try:
            due: int | None = _firings(one, max(since, declared.get(one.words, since)), until)
        except InvalidError as error:  # stored by an earlier release
            due, why = None, error.message
        missed = None if due is None else max(0, due - scheduled)
        ahead = _ahead(one, until) if due == 0 else ""
        lines.append(
            PlanLine(
                planned=f"consider a retrain at {one.cron} {one.timezone}", due=due, done=scheduled, missed=missed,
                why=ahead if missed == 0 else why, own=True,
            )
        )  # fmt: skip
    after_windows = sum(1 for d in decisions if d.cause == "window")
    lines.append(
        PlanLine(planned="consider a retrain after windows", due=None, done=after_windows, missed=None, why="")
    )
    return lines


def _ahead(schedule: Cron, until: datetime) -> str:
    """When a schedule falls due that did not in the period."""
    tick = next_tick(schedule.cron, until, schedule.timezone)
    return f"not yet: due next at {tick:%Y-%m-%d %H:%M} UTC" if tick is not None else "it never falls due"


def _line(planned: str, due: int, done: int, reasons: Counter[str] | dict[str, int]) -> PlanLine:
    why = "; ".join(f"{n} × {reason}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1]))
    return PlanLine(planned=planned, due=due, done=done, missed=max(0, due - done), why=why)


def _measured(planned: str, lines: Sequence[MeasureLine], windows: Sequence[Window]) -> PlanLine:
    reasons = Counter(m.reason or "no reason recorded" for m in lines if m.value is None)
    without = len(windows) - len(lines)
    if without > 0:
        reasons["no record of this metric"] = without
    return _line(planned, len(windows), sum(1 for m in lines if m.value is not None), reasons)


def _missing_numbers(windows: Sequence[Window]) -> tuple[int, int]:
    """Windows without a record; and those that are left out, in a stretch without rows, after an empty one.

    Source: `monitor.windows.pauses`.
    """
    seen: dict[tuple[str, str], dict[int, int]] = {}
    for w in windows:
        seen.setdefault((str(w.baseline_id), w.scale), {})[w.number] = w.rows
    missing = left_out = 0
    for rows in seen.values():
        for before, after in pairwise(sorted(rows)):
            if rows[before] == 0:
                left_out += after - before - 1
            else:
                missing += after - before - 1
    return missing, left_out


def _firings(schedule: Cron, since: datetime, until: datetime) -> int:
    count, at = 0, next_tick(schedule.cron, since, schedule.timezone)
    while at is not None and at < until and count < 100_000:
        count, at = count + 1, next_tick(schedule.cron, at, schedule.timezone)
    return count

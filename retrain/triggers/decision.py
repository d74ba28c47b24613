"""Combine triggers and blockers of a policy into one decision and its reason. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from monitor.spec.duration import duration
from monitor.spec.retraining import Retrain
from retrain.triggers.base import Condition, Held, Trigger, TriggerFinding, TriggerInputs

HOURS: Final = "allowed_hours"
STOPPED: Final = "stopped"
IN_PROGRESS: Final = "run_in_progress"
SINCE_TRAINING: Final = "labelled events since the last training set"
Answer = Literal["started", "nothing_to_do", "blocked"]


@dataclass(frozen=True, slots=True)
class Blocker:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """One consideration of a policy.

    Attributes:
        held: what runs were started for and what lasts, this decision included: by trigger and condition.
        ticks: the last tick of each schedule that this decision considered.
    """

    fire: bool
    reason: str
    findings: tuple[TriggerFinding, ...]
    blocked_by: tuple[Blocker, ...]
    held: Mapping[str, Mapping[str, Held]] = field(default_factory=dict)
    ticks: Mapping[str, str] = field(default_factory=dict)


def answer(*, fired: bool, triggers: Sequence[Mapping[str, Any]], blocked_by: Sequence[Mapping[str, Any]]) -> Answer:
    """What a recorded decision means for whoever asked: nothing to do where no trigger fires, or nothing was learned.

    Args:
        triggers, blocked_by: as decisions keep them.
    """
    if fired:
        return "started"
    if any(b["name"] in (IN_PROGRESS, STOPPED) for b in blocked_by):
        return "blocked"
    idle = [b["name"] for b in blocked_by] == ["min_outcomes"] and blocked_by[0]["reason"].startswith(
        f"0 {SINCE_TRAINING}"
    )
    return "nothing_to_do" if idle or not any(t["fire"] for t in triggers) else "blocked"


def combine(triggers: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> PolicyDecision:
    """Fires if a trigger fires and nothing blocks. Every trigger and every blocker of the policy is evaluated."""
    asked = [t for t in triggers if t.wanted(inputs, policy)]
    findings = tuple(_with_hysteresis(t.find(inputs, policy), inputs, policy) for t in asked)
    firing = [(t, f) for t, f in zip(asked, findings, strict=True) if f.fire]
    blocked = _blockers([t for t, _ in firing], inputs, policy)
    # A schedule that falls due outside the allowed hours is kept until they begin.
    closed = any(b.name == HOURS for b in blocked)
    ticks = {} if closed else {words: tick for f in findings for words, tick in f.ticks.items()}
    fire = bool(firing) and not blocked
    held = _held(findings, inputs, fire=fire)
    causes = "; ".join(f"{f.name}: {f.reason}" for _, f in firing)
    if not firing:
        causes = "nothing fires: " + "; ".join(f"{f.name}: {f.reason}" for f in findings)
        if inputs.open_run is not None:
            causes += f"; run {inputs.open_run} has not ended"
        return PolicyDecision(False, causes, findings, blocked, held, ticks)
    if blocked:
        stops = "; ".join(f"{b.name}: {b.reason}" for b in blocked)
        return PolicyDecision(False, f"{causes}; blocked by {stops}", findings, blocked, held, ticks)
    return PolicyDecision(True, causes, findings, (), held, ticks)


def _with_hysteresis(found: TriggerFinding, inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    """The finding; it does not fire where a run was started for all that is on, and nothing of it got worse."""
    if not found.fire or not found.conditions:
        return found
    held = inputs.held.get(found.name, {})
    on = [c for c in found.conditions if c.state == "on"]
    if not on or any(c.key not in held or _worse(c, held[c.key], policy) for c in on):
        return found
    since = max(held[c.key].at for c in on)
    words = (
        f"{found.reason}; a run was started for this on {since:%Y-%m-%d %H:%M} UTC, and it fires again once it has "
        f"cleared or is {policy.worse_by:.0%} further beyond its limit"
    )
    return replace(found, fire=False, reason=words)


def _worse(now: Condition, before: Held, policy: Retrain) -> bool:
    if now.size is None or before.size is None:
        return False
    return now.size > before.size and now.size >= (1 + policy.worse_by) * before.size


def _held(findings: Sequence[TriggerFinding], inputs: TriggerInputs, *, fire: bool) -> dict[str, dict[str, Held]]:
    """What lasts of what runs were started for: all that is on, once this decision starts a run."""
    found: dict[str, dict[str, Held]] = {}
    for finding in findings:
        before, now = inputs.held.get(finding.name, {}), {c.key: c for c in finding.conditions}
        lasting = {key: one for key, one in before.items() if key in now and now[key].state != "off"}
        if fire:
            lasting |= {c.key: Held(inputs.now, c.size) for c in finding.conditions if c.state == "on"}
        if lasting:
            found[finding.name] = lasting
    return found


def _blockers(firing: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> tuple[Blocker, ...]:
    found = []
    if inputs.stopped is not None:
        found.append(Blocker(STOPPED, inputs.stopped))
    if inputs.closed is not None:
        found.append(Blocker(HOURS, inputs.closed))
    if inputs.open_run is not None:
        found.append(Blocker(IN_PROGRESS, f"run {inputs.open_run} has not ended"))
    # A person may know why the last run was not enough, so the cooldown applies to the policy alone.
    if inputs.last_run_at is not None and inputs.manual is None:
        free_at = inputs.last_run_at + duration(policy.cooldown)
        if inputs.now < free_at:
            until = free_at.isoformat(timespec="seconds")
            found.append(Blocker("cooldown", f"{policy.cooldown} after the last run, until {until}"))
    found.extend(_too_few_labels(firing, inputs, policy))
    if inputs.outside_envelope:
        found.append(Blocker("envelope", "; ".join(inputs.outside_envelope)))
    if inputs.unlearnable is not None:
        found.append(Blocker("labels", inputs.unlearnable))
    if inputs.unteachable is not None:
        found.append(Blocker("teacher", inputs.unteachable))
    if inputs.material:
        found.append(Blocker("provenance", "; ".join(inputs.material)))
    if inputs.over_budget:
        found.append(Blocker("budget", "; ".join(inputs.over_budget)))
    if inputs.lacking:
        found.append(Blocker("resources", "; ".join(inputs.lacking)))
    return tuple(found)


def _too_few_labels(firing: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> list[Blocker]:
    have = inputs.labelled.since_training
    if have < policy.min_outcomes:
        words = f"{have} {SINCE_TRAINING}, {policy.min_outcomes} needed"
        return [Blocker("min_outcomes", words)]
    alarm_only = bool(firing) and all(t.labels == "since_alarm" for t in firing)
    since_alarm = inputs.labelled.since_alarm
    if alarm_only and since_alarm is not None and since_alarm < policy.min_outcomes:
        # Labels from before the alarm teach nothing about what changed.
        words = (
            f"{since_alarm} labelled events since the alarm began, {policy.min_outcomes} needed "
            f"({have} since the last training set)"
        )
        return [Blocker("min_outcomes", words)]
    return []

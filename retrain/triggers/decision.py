"""Combine triggers and blockers of a policy into one decision and its reason. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.spec.duration import duration
from monitor.spec.retraining import Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs


@dataclass(frozen=True, slots=True)
class Blocker:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    fire: bool
    reason: str
    findings: tuple[TriggerFinding, ...]
    blocked_by: tuple[Blocker, ...]


def combine(triggers: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> PolicyDecision:
    """Fires if a trigger fires and nothing blocks. Every trigger and every blocker of the policy is evaluated."""
    asked = [t for t in triggers if t.wanted(inputs, policy)]
    findings = tuple(t.find(inputs, policy) for t in asked)
    firing = [(t, f) for t, f in zip(asked, findings, strict=True) if f.fire]
    blocked = _blockers([t for t, _ in firing], inputs, policy)
    if not firing:
        reason = "nothing fires: " + "; ".join(f"{f.name}: {f.reason}" for f in findings)
        return PolicyDecision(False, reason, findings, blocked)
    causes = "; ".join(f"{f.name}: {f.reason}" for _, f in firing)
    if blocked:
        stops = "; ".join(f"{b.name}: {b.reason}" for b in blocked)
        return PolicyDecision(False, f"{causes}; blocked by {stops}", findings, blocked)
    return PolicyDecision(True, causes, findings, ())


def _blockers(firing: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> tuple[Blocker, ...]:
    found = []
    if inputs.open_run is not None:
        found.append(Blocker("run_in_progress", f"run {inputs.open_run} has not ended"))
    # A person may know why the last run was not enough, so the cooldown applies to the policy alone.
    if inputs.last_run_at is not None and inputs.manual is None:
        free_at = inputs.last_run_at + duration(policy.cooldown)
        if inputs.now < free_at:
            found.append(Blocker("cooldown", f"{policy.cooldown} after the last run, until {free_at.isoformat()}"))
    found.extend(_too_few_labels(firing, inputs, policy))
    if inputs.outside_envelope:
        found.append(Blocker("envelope", "; ".join(inputs.outside_envelope)))
    return tuple(found)


def _too_few_labels(firing: Sequence[Trigger], inputs: TriggerInputs, policy: Retrain) -> list[Blocker]:
    have = inputs.labelled.since_training
    if have < policy.min_outcomes:
        words = f"{have} labelled events since the last training set, {policy.min_outcomes} needed"
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

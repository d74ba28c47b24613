"""Triggers of a retrain: one file for each, and the table that lists them."""

from typing import Final

from monitor.spec.retraining import Retrain
from retrain.triggers import drift, fairness, kpi, manual, new_classes, outcomes, schedule, whole
from retrain.triggers.base import Trigger, TriggerInputs
from retrain.triggers.decision import PolicyDecision, combine

TRIGGERS: Final[dict[str, Trigger]] = {
    t.name: t
    for t in (
        drift.TRIGGER, kpi.TRIGGER, fairness.TRIGGER, whole.TRIGGER, outcomes.TRIGGER, new_classes.TRIGGER,
        schedule.TRIGGER, manual.TRIGGER,
    )
}  # fmt: skip


def decide(inputs: TriggerInputs, policy: Retrain) -> PolicyDecision:
    """Consider a model's retrain policy once; see `retrain.triggers.decision.combine`."""
    return combine(tuple(TRIGGERS.values()), inputs, policy)

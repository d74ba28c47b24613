"""Fires once enough labelled events arrived since the last training set."""

from monitor.spec.retraining import Retrain
from monitor.spec.triggers import NewOutcomes
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return any(isinstance(t, NewOutcomes) for t in policy.when)


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    needed = min(t.new_outcomes for t in policy.when if isinstance(t, NewOutcomes))
    have = inputs.labelled.since_training
    words = f"{have} labelled events since the last training set; {needed} asked for"
    return TriggerFinding("outcomes", have >= needed, words)


TRIGGER = Trigger("outcomes", "since_training", wanted, find)

"""Fires when a person asked for a run; the person is the evidence, so that they cannot approve it themselves."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Finding, Trigger, TriggerInputs


def wanted(inputs: TriggerInputs, _policy: Retrain) -> bool:
    return inputs.manual is not None


def find(inputs: TriggerInputs, _policy: Retrain) -> Finding:
    if inputs.manual is None:
        return Finding("manual", False, "nobody asked for a run")
    return Finding("manual", True, f"{inputs.manual.actor} asked: {inputs.manual.reason}", (inputs.manual.actor,))


TRIGGER = Trigger("manual", "since_training", wanted, find)

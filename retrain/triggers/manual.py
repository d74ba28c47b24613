"""Fires if a person requested a run. Their name is the evidence: nobody may approve a run that they requested."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs


def wanted(inputs: TriggerInputs, _policy: Retrain) -> bool:
    return inputs.manual is not None


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    if inputs.manual is None:
        return TriggerFinding("manual", False, "nobody asked for a run")
    return TriggerFinding(
        "manual", True, f"{inputs.manual.actor} asked: {inputs.manual.reason}", (inputs.manual.actor,)
    )


TRIGGER = Trigger("manual", "since_training", wanted, find)

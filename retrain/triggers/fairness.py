"""Fires while a fairness metric's newest measurement is past its limit, in the monitor's judgement."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs
from retrain.triggers.kpi import past_limit


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return "fairness" in policy.when


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    return past_limit("fairness", inputs.fairness)


TRIGGER = Trigger("fairness", "since_alarm", wanted, find)

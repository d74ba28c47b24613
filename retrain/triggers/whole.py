"""Fires for a part of a model of models while a KPI of the whole is past its limit and this part got worse in it."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Condition, Trigger, TriggerFinding, TriggerInputs
from retrain.triggers.kpi import words

NAME = "whole"


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return NAME in policy.when


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    whole = inputs.whole
    if whole is None or whole.reason is not None:
        return TriggerFinding(NAME, False, (whole.reason if whole else None) or "this model is no part of another")
    blamed = [r for r, worse in whole.alarms if whole.agent in worse]
    conditions = [
        Condition(r.key, "on", None if r.value is None or r.limit is None else abs(r.value - r.limit), words(r))
        for r in blamed
    ]
    on = {c.key for c in conditions}
    conditions += [Condition(key, "off") for key in inputs.held.get(NAME, {}) if key not in on]
    if blamed:
        told = "; ".join(map(words, blamed))
        evidence = tuple(r.id for r in blamed)
        return TriggerFinding(
            NAME, True, f"{whole.agent} got worse in {whole.model}: {told}", evidence, tuple(conditions)
        )
    others = sorted({name for _, worse in whole.alarms for name in worse})
    if not whole.alarms:
        return TriggerFinding(NAME, False, f"no KPI of {whole.model} is past its limit", (), tuple(conditions))
    told = f"{whole.agent} is not what got worse in {whole.model} ({', '.join(others) or 'no agent did'})"
    return TriggerFinding(NAME, False, told, tuple(r.id for r, _ in whole.alarms), tuple(conditions))


TRIGGER = Trigger(NAME, "since_training", wanted, find)

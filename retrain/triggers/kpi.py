"""Fires while a KPI's newest measurement is past its limit, in the monitor's judgement."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs, TriggerReading


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return "kpi" in policy.when


def past_limit(name: str, readings: tuple[TriggerReading, ...]) -> TriggerFinding:
    """The finding about readings that carry a limit; shared with fairness, whose readings have the same shape."""
    limited = [r for r in readings if r.limit is not None]
    alarms = [r for r in limited if r.alarm]
    if alarms:
        return TriggerFinding(name, True, "; ".join(map(_words, alarms)), tuple(r.id for r in alarms))
    if not limited:
        return TriggerFinding(name, False, f"no {name} with a limit has been measured against the present baseline")
    if waiting := [r for r in limited if r.not_judged is not None]:
        why = "; ".join(f"{_words(r)}, not judged: {r.not_judged}" for r in waiting)
        return TriggerFinding(name, False, why, tuple(r.id for r in limited))
    return TriggerFinding(
        name, False, "within limits: " + "; ".join(map(_words, limited)), tuple(r.id for r in limited)
    )


def _words(reading: TriggerReading) -> str:
    value = "undefined" if reading.value is None else f"{reading.value:.4g}"
    of = f" of {reading.of}" if reading.of else ""
    return f"{reading.metric}{of} is {value}, limit {reading.limit:.4g}, {reading.n} rows"


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    return past_limit("kpi", inputs.kpis)


TRIGGER = Trigger("kpi", "since_alarm", wanted, find)

"""Fires while a KPI, realised or estimated, is past its limit by its whole interval, in the monitor's judgement."""

from typing import Literal

from monitor.spec.retraining import Retrain
from monitor.spec.triggers import KpiBreach
from retrain.triggers.base import Condition, Trigger, TriggerFinding, TriggerInputs, TriggerReading


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return bool(_kinds(policy))


def _kinds(policy: Retrain) -> set[str]:
    """Which values of a KPI may start a run: those that outcomes give, those estimated before them, or both."""
    named = {t.kpi for t in policy.when if isinstance(t, KpiBreach)}
    return named | ({"realised", "estimated"} if "kpi" in policy.when else set())


def past_limit(name: str, readings: tuple[TriggerReading, ...]) -> TriggerFinding:
    """The finding about readings that carry a limit; shared with fairness, whose readings have the same shape."""
    limited = [r for r in readings if r.limit is not None]
    alarms = [r for r in limited if r.alarm]
    conditions = _conditions(limited)
    if alarms:
        evidence = tuple(r.id for r in alarms)
        return TriggerFinding(name, True, "; ".join(map(words, alarms)), evidence, conditions)
    if not limited:
        return TriggerFinding(name, False, f"no {name} with a limit has been measured against the present baseline")
    evidence = tuple(r.id for r in limited)
    if waiting := [r for r in limited if r.not_judged is not None]:
        why = "; ".join(f"{words(r)}, not judged: {r.not_judged}" for r in waiting)
        return TriggerFinding(name, False, why, evidence, conditions)
    return TriggerFinding(name, False, "within limits: " + "; ".join(map(words, limited)), evidence, conditions)


def _conditions(limited: list[TriggerReading]) -> tuple[Condition, ...]:
    """Each metric once: it is on where any window length or the estimate is beyond the limit."""
    by_key: dict[str, list[TriggerReading]] = {}
    for reading in limited:
        by_key.setdefault(reading.key, []).append(reading)
    found = []
    for key, group in by_key.items():
        on = [r for r in group if r.alarm]
        sizes = [abs(r.value - r.limit) for r in on if r.value is not None and r.limit is not None]
        unjudged = all(r.not_judged is not None for r in group)
        state: Literal["on", "off", "unknown"] = "on" if on else "unknown" if unjudged else "off"
        found.append(Condition(key, state, max(sizes, default=None), "; ".join(map(words, on))))
    return tuple(found)


def words(reading: TriggerReading) -> str:
    value = "undefined" if reading.value is None else f"{reading.value:.4g}"
    of = f" of {reading.of}" if reading.of else ""
    verb = "is estimated at" if reading.estimated else "is"
    if reading.low is not None and reading.high is not None:
        value += f" ({reading.low:.4g}-{reading.high:.4g})"
    return f"{reading.metric}{of} {verb} {value}, limit {reading.limit:.4g}, {reading.n} rows"


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    kinds = _kinds(policy)
    return past_limit("kpi", tuple(r for r in inputs.kpis if ("estimated" if r.estimated else "realised") in kinds))


TRIGGER = Trigger("kpi", "since_alarm", wanted, find)

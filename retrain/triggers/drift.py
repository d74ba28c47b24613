"""Fires while the newest window of any scale is an alarm with drift in it."""

from typing import Literal

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Condition, Trigger, TriggerFinding, TriggerInputs


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return "drift" in policy.when


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    alarms = [w for w in inputs.windows if w.verdict == "alarm" and w.drifted]
    conditions = _conditions(inputs)
    if alarms:
        parts = (f"window {w.scale} to {w.to_ts.isoformat()} drifted in {', '.join(w.drifted)}" for w in alarms)
        return TriggerFinding("drift", True, "; ".join(parts), tuple(w.id for w in alarms), conditions)
    evidence = tuple(w.id for w in inputs.windows)
    if not inputs.windows:
        return TriggerFinding("drift", False, "no window has been judged against the present baseline")
    judged = ", ".join(f"{w.scale}: {w.verdict}" for w in inputs.windows)
    return TriggerFinding("drift", False, f"no drift in the newest windows ({judged})", evidence, conditions)


def _conditions(inputs: TriggerInputs) -> tuple[Condition, ...]:
    """Each column that drifts, with the largest size of any scale; and those that a run was started for."""
    sizes: dict[str, float | None] = {}
    for window in inputs.windows:
        for column, size in window.drifted.items() if window.verdict == "alarm" else ():
            known = sizes.get(column)
            sizes[column] = size if known is None or (size is not None and size > known) else known
    judged = [w for w in inputs.windows if w.verdict != "unknown"]
    rest: Literal["off", "unknown"] = "off" if judged or not inputs.windows else "unknown"
    on = [Condition(column, "on", size, f"drift in {column}") for column, size in sizes.items()]
    held = inputs.held.get("drift", {})
    return (*on, *(Condition(column, rest) for column in held if column not in sizes))


TRIGGER = Trigger("drift", "since_alarm", wanted, find)

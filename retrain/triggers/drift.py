"""Fires while the newest window of any scale is an alarm with drift in it."""

from monitor.spec.retraining import Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return "drift" in policy.when


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    alarms = [w for w in inputs.windows if w.verdict == "alarm" and w.drifted]
    if alarms:
        parts = (f"window {w.scale} to {w.to_ts.isoformat()} drifted in {', '.join(w.drifted)}" for w in alarms)
        return TriggerFinding("drift", True, "; ".join(parts), tuple(w.id for w in alarms))
    if not inputs.windows:
        return TriggerFinding("drift", False, "no window has been judged against the present baseline")
    judged = ", ".join(f"{w.scale}: {w.verdict}" for w in inputs.windows)
    return TriggerFinding(
        "drift", False, f"no drift in the newest windows ({judged})", tuple(w.id for w in inputs.windows)
    )


TRIGGER = Trigger("drift", "since_alarm", wanted, find)

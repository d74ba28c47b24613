"""What to do now about an alert: links and buttons, the most useful first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.notify.wording import next_step
from monitor.tables import Alert, Model
from reports.alerts.around import Happened
from retrain.tables import Run

ENDED: Final = ("promoted", "rejected", "failed")


@dataclass(frozen=True, slots=True)
class NextAction:
    """One thing to do. `link`: path of the page where it is done; empty for advice alone."""

    words: str
    link: str = ""


def next_actions(
    db: Session, alert: Alert, model: Model | None, around: Sequence[Happened], *, explained: bool
) -> tuple[NextAction, ...]:
    """What to do now.

    Args:
        around: what else happened then.
        explained: whether what drove the alert is known.
    """
    if alert.state == "resolved":
        return (NextAction("Nothing: the alert is resolved. The next alarm of its monitor opens a new one."),)
    found: list[NextAction] = []
    if alert.withdrawn_at is not None:
        found.append(NextAction("Resolve it: late rows or outcomes took all of its alarms back.", "#act"))
    if model is not None:
        found += _of_model(db, alert, model, around)
    if explained and alert.monitor == "drift":
        found.append(
            NextAction("Look at the rows that are typical of the change, and tell whether it is wanted.", "#rows")
        )
    step = next_step(alert.monitor, alert.metric)
    if step is not None:
        found.append(NextAction(step, _place(alert, model)))
    if alert.state == "open" and alert.withdrawn_at is None:
        found.append(NextAction("Acknowledge it, so that others see that somebody works on it.", "#act"))
    return tuple(found)


def _of_model(db: Session, alert: Alert, model: Model, around: Sequence[Happened]) -> list[NextAction]:
    found = []
    query = select(Run).where(Run.model_id == model.id, Run.state.not_in(ENDED)).order_by(Run.created_at.desc())
    run = db.scalars(query.limit(1)).first()
    if run is not None and run.state == "awaiting_approval":
        found.append(NextAction("Approve or reject the retrain that waits for it.", f"/runs/{run.id}"))
    elif run is not None:
        found.append(NextAction(f"A retrain is {run.state}: see how far it is.", f"/runs/{run.id}"))
    deploy = next((h for h in reversed(around) if h.kind in ("deploy", "promotion")), None)
    if deploy is not None and alert.monitor in ("drift", "kpi", "estimate", "concept", "quality", "fairness"):
        words = f"Look at the release first: {deploy.text} {deploy.when}. If it is the cause, roll it back."
        found.append(NextAction(words, f"/models/{model.name}"))
    return found


def _place(alert: Alert, model: Model | None) -> str:
    """Where a step is done."""
    if model is None:
        return "/channels" if alert.metric == "notifications" else ""
    match alert.monitor:
        case "fairness":
            return f"/models/{model.name}/fairness"
        case "drift" | "kpi":
            return "#why"
        case "silence" | "outcomes" | "volume" | "estimate" | "attribution" | "concept" | "quality":
            return f"/models/{model.name}"
    return ""

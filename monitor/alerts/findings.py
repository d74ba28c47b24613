"""What drove an alert, as it is stored: the newest finding, and those of earlier episodes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs import WhyJob
from core.queue import Job
from monitor.alerts.headlines import told_window
from monitor.finding_tables import AlertFinding
from monitor.tables import Alert

EXPLAINED: Final = ("drift", "kpi", "fairness")  # monitors whose alerts are explained
PENDING: Final = "Being looked for."


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of what drove an alert: `state` is that of the finding, `pending`, or `none` for other alerts."""

    state: str
    sentence: str
    row: AlertFinding | None = None


def findings(db: Session, alert_ids: Collection[UUID]) -> dict[UUID, list[AlertFinding]]:
    """The findings of some alerts, the newest first."""
    found: dict[UUID, list[AlertFinding]] = {alert_id: [] for alert_id in alert_ids}
    query = select(AlertFinding).where(AlertFinding.alert_id.in_(alert_ids)).order_by(AlertFinding.created_at.desc())
    for row in db.scalars(query):
        found[row.alert_id].append(row)
    return found


def standing(db: Session, alert: Alert, found: Sequence[AlertFinding]) -> Standing:
    """What is known about the window that the alert's sentence is about.

    Args:
        found: the alert's findings.
    """
    if alert.monitor not in EXPLAINED or (window := told_window(alert)) is None:
        return Standing("none", "")
    for row in found:
        if row.window_id == window:
            return Standing(row.state, row.sentence, row)
    error = db.scalar(
        select(Job.error).where(
            Job.name == WhyJob.name, Job.dedupe_key == job_key(alert.id, window), Job.state == "failed"
        )
    )
    return Standing("pending", PENDING) if error is None else Standing("failed", f"It could not be looked for: {error}")


def job_key(alert_id: UUID, window_id: UUID) -> str:
    return f"why:{alert_id}:{window_id}"

"""Acknowledge and resolve alerts on behalf of users."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from governance.ledger.append import append_entry
from monitor import store
from monitor.errors import AlertStateError
from monitor.site import Site
from monitor.tables import Alert, Model


def acknowledge_alert(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Acknowledge an open alert.

    Raises:
        AlertNotFoundError: no alert has this id.
        AlertStateError: the alert is not open.
    """
    alert = store.alert(db, alert_id, lock=True)
    if alert.state != "open":
        raise AlertStateError(alert_id, alert.state, "acknowledged")
    now = site.clock.now()
    alert.state, alert.acknowledged_at, alert.acknowledged_by, alert.note = "acknowledged", now, actor, note
    acknowledged: dict[str, Any] = {"acknowledged_at": now.isoformat(), "acknowledged_by": actor}
    alert.episodes = [acknowledged | episode for episode in alert.episodes]
    record_change(db, site, "alert.acknowledged", alert, actor)
    return alert


def resolve_alert(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Resolve an alert; the next alarm of the same monitor opens a new one.

    Raises:
        AlertNotFoundError: no alert has this id.
        AlertStateError: the alert is already resolved.
    """
    alert = store.alert(db, alert_id, lock=True)
    if alert.state == "resolved":
        raise AlertStateError(alert_id, alert.state, "resolved")
    now = site.clock.now()
    alert.state, alert.resolved_at, alert.resolved_by = "resolved", now, actor
    alert.note = note or alert.note
    record_change(db, site, "alert.resolved", alert, actor)
    return alert


def record_change(db: Session, site: Site, kind: str, alert: Alert, actor: str) -> None:
    """Append a change of an alert's state to the ledger."""
    model = db.get_one(Model, alert.model_id)
    body = {
        "alert": alert.id, "monitor": alert.monitor, "metric": alert.metric, "windows": alert.windows,
        "episodes": len(alert.episodes),
    }  # fmt: skip
    append_entry(db, kind=kind, actor=actor, subject=f"model:{model.name}", body=body, at=site.clock.now())

"""Acknowledge and resolve alerts on behalf of users."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from monitor.alerts import incidents, store
from monitor.alerts.announce import announce, record
from monitor.errors import AlertStateError
from monitor.site import Site
from monitor.tables import Alert


def acknowledge_alert(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Acknowledge an open alert.

    Raises:
        AlertNotFoundError: no alert has this id.
        AlertStateError: the alert is not open.
    """
    alert = store.locked_alert(db, alert_id)
    if alert.state != "open":
        raise AlertStateError(alert_id, alert.state, "acknowledged")
    now = site.clock.now()
    alert.state, alert.acknowledged_at, alert.acknowledged_by, alert.note = "acknowledged", now, actor, note
    acknowledged: dict[str, Any] = {"acknowledged_at": now.isoformat(), "acknowledged_by": actor}
    alert.episodes = [acknowledged | episode for episode in alert.episodes]
    record(site, db, alert, "acknowledged", facts=_size(alert), actor=actor)
    incident = incidents.follow_alert(db, alert, now)
    incidents.note(db, incident, "acknowledged", at=now, actor=actor, text=note or "", alert=alert)
    return alert


def resolve_alert(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Resolve an alert; the next alarm of the same monitor opens a new one.

    Raises:
        AlertNotFoundError: no alert has this id.
        AlertStateError: the alert is already resolved.
    """
    alert = store.locked_alert(db, alert_id)
    if alert.state == "resolved":
        raise AlertStateError(alert_id, alert.state, "resolved")
    alert.note = note or alert.note
    end(site, db, alert, actor)
    return alert


def end(site: Site, db: Session, alert: Alert, actor: str) -> None:
    """Resolve an alert on behalf of a person, or of the system once its cause is gone."""
    alert.state, alert.resolved_at, alert.resolved_by = "resolved", site.clock.now(), actor
    announce(site, db, alert, "resolved", facts=_size(alert), actor=actor)


def _size(alert: Alert) -> dict[str, int]:
    return {"windows": alert.windows, "episodes": len(alert.episodes)}

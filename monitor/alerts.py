"""Alerts as episodes: consecutive alarms of one monitor are one alert until somebody resolves it."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from governance import ledger
from monitor import store
from monitor.errors import AlertStateError
from monitor.site import Site
from monitor.tables import Alert, Model, Window


@dataclass(frozen=True, slots=True)
class Alarm:
    """One monitor that tripped in one window."""

    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str


def record(site: Site, db: Session, model: Model, window: Window, alarm: Alarm) -> Alert:
    """Open an alert for an alarm, or add the window to the episode that is still unresolved."""
    now = site.clock.now()
    alert = store.unresolved_alert(db, model.id, alarm.monitor, alarm.metric)
    if alert is not None:
        if alert.last_window_id != window.id:
            alert.windows += 1
            alert.last_window_id = window.id
        return alert
    alert = Alert(
        model_id=model.id, monitor=alarm.monitor, metric=alarm.metric, column=alarm.column, value=alarm.value,
        limit=alarm.limit, sentence=alarm.sentence, first_window_id=window.id, last_window_id=window.id, opened_at=now,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    ledger.append(
        db, kind="alert.opened", actor="assay", subject=f"model:{model.name}", at=now,
        body={
            "alert": alert.id, "monitor": alarm.monitor, "metric": alarm.metric, "column": alarm.column,
            "value": alarm.value, "limit": alarm.limit, "window": window.id, "spec_revision": window.spec_revision,
            "events_version": window.events_version,
        },
    )  # fmt: skip
    if alarm.monitor == "drift":
        queue.enqueue(db, "monitor.confirm", {"alert_id": str(alert.id)}, now=now, dedupe_key=f"confirm:{alert.id}")
    return alert


def acknowledge(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Somebody has seen it and is on it.

    Raises:
        AlertNotFoundError, AlertStateError: no such alert, or it is not open.
    """
    alert = store.alert(db, alert_id, lock=True)
    if alert.state != "open":
        raise AlertStateError(alert_id, alert.state, "acknowledged")
    now = site.clock.now()
    alert.state, alert.acknowledged_at, alert.acknowledged_by, alert.note = "acknowledged", now, actor, note
    _append(db, site, "alert.acknowledged", alert, actor)
    return alert


def resolve(site: Site, db: Session, alert_id: UUID, actor: str, note: str | None) -> Alert:
    """Close the episode; the next alarm of the same monitor opens a new alert.

    Raises:
        AlertNotFoundError, AlertStateError: no such alert, or it is resolved already.
    """
    alert = store.alert(db, alert_id, lock=True)
    if alert.state == "resolved":
        raise AlertStateError(alert_id, alert.state, "resolved")
    now = site.clock.now()
    alert.state, alert.resolved_at, alert.resolved_by = "resolved", now, actor
    alert.note = note or alert.note
    _append(db, site, "alert.resolved", alert, actor)
    return alert


def _append(db: Session, site: Site, kind: str, alert: Alert, actor: str) -> None:
    model = db.get_one(Model, alert.model_id)
    body = {"alert": alert.id, "monitor": alert.monitor, "metric": alert.metric, "windows": alert.windows}
    ledger.append(db, kind=kind, actor=actor, subject=f"model:{model.name}", body=body, at=site.clock.now())

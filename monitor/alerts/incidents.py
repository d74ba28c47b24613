"""Incidents: alerts of one cause, with one owner, one state and one timeline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR
from monitor.alerts import store
from monitor.alerts.common_cause import shared_incident
from monitor.alerts.severity import rank
from monitor.tables import ALERT_STATES, MONITORS, Alert, AlertWindow, Incident, IncidentNote, Model, Window

# An alarm whose window begins at most this long after the newest alarm of an unresolved incident belongs to it.
FOLLOWS_WITHIN: Final = timedelta(days=1)
NoteKind = Literal[
    "opened", "again", "worse", "resolved", "withdrawn", "acknowledged", "assigned", "commented", "snoozed", "muted",
    "linked", "unlinked", "merged", "post_mortem",
]  # fmt: skip


def incident_for(
    db: Session, model_id: UUID | None, *, from_ts: datetime, to_ts: datetime, headline: str, severity: str,
    now: datetime,
) -> Incident:  # fmt: skip
    """The incident that a new alert belongs to: the newest unresolved one of its model that it overlaps or follows.

    Else one of another model that it overlaps, if both have a cause in common; else a new one.

    Args:
        model_id: None for an alert about the installation itself.
        from_ts: start of the first window that alarms.
        to_ts: end of it.
        headline: sentence of the alert.
    """
    for incident in store.unresolved_incidents(db, model_id, lock=True):
        if from_ts <= incident.to_ts + FOLLOWS_WITHIN and to_ts >= incident.from_ts - FOLLOWS_WITHIN:
            return incident
    if model_id is not None and (shared := shared_incident(db, model_id, from_ts, to_ts)) is not None:
        incident, cause = shared
        name = db.get_one(Model, model_id).name
        note(db, incident, "linked", at=now, actor=SYSTEM_ACTOR, text=f"an alert of {name}: {cause}")
        return incident
    incident = Incident(
        model_id=model_id, headline=headline, severity=severity, state="open", from_ts=from_ts, to_ts=to_ts,
        opened_at=now,
    )  # fmt: skip
    db.add(incident)
    db.flush()
    return incident


def extend(db: Session, alert: Alert, from_ts: datetime, to_ts: datetime) -> None:
    """Let the incident of an alert last at least over a window that alarms."""
    incident = store.incident(db, alert.incident_id, lock=True)
    incident.from_ts, incident.to_ts = min(incident.from_ts, from_ts), max(incident.to_ts, to_ts)


def follow_alert(db: Session, alert: Alert, now: datetime) -> Incident:
    """Bring an incident in line with its alerts after one of them changed.

    Its headline and severity are those of its most severe unresolved alert; among equals of the oldest, then in the
    order of the monitors. It is open while one of its alerts is, and resolved once all are.
    """
    db.flush()
    incident = store.incident(db, alert.incident_id, lock=True)
    alerts = sorted(
        store.alerts_of_incident(db, incident.id), key=lambda a: (a.opened_at, MONITORS.index(a.monitor), a.metric)
    )
    lasting = [a for a in alerts if a.state != "resolved"]
    worst = max(lasting or alerts, key=lambda a: rank(a.severity))
    incident.headline, incident.severity = worst.sentence, worst.severity
    incident.state = _state(alerts)
    incident.resolved_at = None if lasting else incident.resolved_at or now
    return incident


def times_of(db: Session, alert: Alert) -> tuple[datetime, datetime]:
    """The time in which the windows of an alert alarmed; of one without windows, when it was opened and ended."""
    query = (
        select(func.min(Window.from_ts), func.max(Window.to_ts))
        .join(AlertWindow, AlertWindow.window_id == Window.id)
        .where(AlertWindow.alert_id == alert.id, AlertWindow.alarms)
    )
    found: Sequence[Any] = db.execute(query).one()  # null where no window is left
    begin, end = found
    return begin or alert.opened_at, end or alert.resolved_at or alert.opened_at


def _state(alerts: Sequence[Alert]) -> str:
    return min((a.state for a in alerts), key=ALERT_STATES.index)


def note(
    db: Session, incident: Incident, kind: NoteKind, *, at: datetime, actor: str, text: str, alert: Alert | None = None
) -> IncidentNote:
    """Add a line to the timeline of an incident, whose row the caller has locked."""
    db.flush()
    line = IncidentNote(
        incident_id=incident.id, number=store.note_count(db, incident.id) + 1, at=at, actor=actor, kind=kind, text=text,
        alert_id=None if alert is None else alert.id,
    )  # fmt: skip
    db.add(line)
    return line

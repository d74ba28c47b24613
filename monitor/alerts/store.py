"""Queries of incidents, their timelines and mutes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from monitor import store as monitor_store
from monitor.errors import IncidentNotFoundError, MuteNotFoundError
from monitor.tables import Alert, Incident, IncidentNote, Mute


def incident(db: Session, incident_id: UUID, *, lock: bool = False) -> Incident:
    """The incident with this id.

    Raises:
        IncidentNotFoundError: no incident has this id.
    """
    found = db.get(Incident, incident_id, with_for_update=lock or None)
    if found is None:
        raise IncidentNotFoundError(incident_id)
    return found


def locked_alert(db: Session, alert_id: UUID) -> Alert:
    """The alert with this id, locked after its incident: everybody locks them in this order.

    Raises:
        AlertNotFoundError: no alert has this id.
    """
    incident(db, monitor_store.alert(db, alert_id).incident_id, lock=True)
    return db.get_one(Alert, alert_id, with_for_update=True, populate_existing=True)


def unresolved_incidents(db: Session, model_id: UUID | None, *, lock: bool = False) -> Sequence[Incident]:
    """The unresolved incidents of a model, or of the installation, newest first."""
    query = select(Incident).where(Incident.model_id == model_id, Incident.state != "resolved")
    query = query.order_by(Incident.opened_at.desc(), Incident.id)
    return db.scalars(query.with_for_update() if lock else query).all()


def incidents(
    db: Session, *, model_ids: Collection[UUID] | None = None, state: str | None = None, limit: int = 200
) -> Sequence[Incident]:
    """Incidents of some models, or of all and of the installation, newest first."""
    query = select(Incident).order_by(Incident.opened_at.desc(), Incident.id).limit(limit)
    if model_ids is not None:
        query = query.where(Incident.model_id.in_(model_ids))
    if state is not None:
        query = query.where(_in_state(Incident.state, state))
    return db.scalars(query).all()


def _in_state(column: InstrumentedAttribute[str], state: str) -> ColumnElement[bool]:
    """Whether a row is in a state; `unresolved` means open or acknowledged."""
    return column != "resolved" if state == "unresolved" else column == state


def alerts(
    db: Session, *, model_ids: Collection[UUID] | None = None, state: str | None = None, limit: int = 200
) -> Sequence[Alert]:
    """Alerts of some models, or of all and of the installation, newest first."""
    query = select(Alert).order_by(Alert.opened_at.desc(), Alert.id).limit(limit)
    if model_ids is not None:
        query = query.where(Alert.model_id.in_(model_ids))
    if state is not None:
        query = query.where(_in_state(Alert.state, state))
    return db.scalars(query).all()


def system_alerts(db: Session, monitor: str, metric: str) -> Sequence[Alert]:
    """Alerts about the installation itself, oldest first."""
    query = select(Alert).where(Alert.model_id.is_(None), Alert.monitor == monitor, Alert.metric == metric)
    return db.scalars(query.order_by(Alert.opened_at)).all()


def unresolved_system_alerts(db: Session) -> Sequence[Alert]:
    query = select(Alert).where(Alert.model_id.is_(None), Alert.state != "resolved")
    return db.scalars(query.order_by(Alert.opened_at.desc())).all()


def held_back(db: Session) -> Sequence[Alert]:
    """Alerts with something that a snooze or a mute kept silent."""
    return db.scalars(select(Alert).where(Alert.held_back.is_not(None))).all()


def mute(db: Session, mute_id: UUID, *, lock: bool = False) -> Mute:
    """The mute with this id.

    Raises:
        MuteNotFoundError: no mute has this id.
    """
    found = db.get(Mute, mute_id, with_for_update=lock or None)
    if found is None:
        raise MuteNotFoundError(mute_id)
    return found


def mutes(db: Session, model_id: UUID | None, now: datetime) -> Sequence[Mute]:
    """The mutes of a model, or of the installation, that are in force."""
    return db.scalars(select(Mute).where(Mute.model_id == model_id, Mute.until > now)).all()


def active_mutes(db: Session, now: datetime) -> Sequence[Mute]:
    """Every mute in force, the first to end first."""
    return db.scalars(select(Mute).where(Mute.until > now).order_by(Mute.until, Mute.id)).all()


def alerts_of_incident(db: Session, incident_id: UUID) -> Sequence[Alert]:
    return db.scalars(select(Alert).where(Alert.incident_id == incident_id).order_by(Alert.opened_at, Alert.id)).all()


def notes(db: Session, incident_id: UUID) -> Sequence[IncidentNote]:
    """The timeline of an incident, oldest first."""
    query = select(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalars(query.order_by(IncidentNote.number)).all()


def note_count(db: Session, incident_id: UUID) -> int:
    query = select(func.count()).select_from(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalar(query) or 0

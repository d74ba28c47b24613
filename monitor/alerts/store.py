"""Queries of incidents, their timelines and mutes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from monitor import store as monitor_store
from monitor.errors import IncidentNotFoundError, MuteNotFoundError
from monitor.tables import Alert, Incident, IncidentNote, Model, Mute

MOST_BESIDE = 100


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
    """The unresolved incidents of a model, or of the installation, newest first.

    Those of other models in which an alert of this one is not resolved are among them.
    """
    mine = select(Alert.incident_id).where(Alert.model_id.is_not_distinct_from(model_id), Alert.state != "resolved")
    own = Incident.model_id.is_not_distinct_from(model_id) | Incident.id.in_(mine)
    query = select(Incident).where(own, Incident.state != "resolved")
    query = query.order_by(Incident.opened_at.desc(), Incident.id)
    return db.scalars(query.with_for_update() if lock else query).all()


def incidents(
    db: Session, *, model_ids: Collection[UUID] | None = None, state: str | None = None, limit: int = 200
) -> Sequence[Incident]:
    """Incidents of some models, or of all and of the installation, newest first."""
    query = select(Incident).order_by(Incident.opened_at.desc(), Incident.id).limit(limit)
    if model_ids is not None:
        query = query.where(touches(model_ids))
    if state is not None:
        query = query.where(_in_state(Incident.state, state))
    return db.scalars(query).all()


def touches(model_ids: Collection[UUID]) -> ColumnElement[bool]:
    """Whether an incident is about one of some models: it began with one, or has an alert of one."""
    of_alerts = select(Alert.incident_id).where(Alert.model_id.in_(model_ids))
    return Incident.model_id.in_(model_ids) | Incident.id.in_(of_alerts)


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


def alerts_of_incident(db: Session, incident_id: UUID, model_ids: Collection[UUID] | None = None) -> Sequence[Alert]:
    """The alerts of an incident, of some models or of all, oldest first."""
    query = select(Alert).where(Alert.incident_id == incident_id)
    if model_ids is not None:
        query = query.where(Alert.model_id.in_(model_ids))
    return db.scalars(query.order_by(Alert.opened_at, Alert.id)).all()


def notes(db: Session, incident_id: UUID) -> Sequence[IncidentNote]:
    """The timeline of an incident, oldest first."""
    query = select(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalars(query.order_by(IncidentNote.number)).all()


def note_count(db: Session, incident_id: UUID) -> int:
    query = select(func.count()).select_from(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalar(query) or 0


def alerts_beside(db: Session, alert: Alert, model_ids: Collection[UUID] | None) -> Sequence[Row[Alert, str | None]]:
    """The other alerts of an alert's incident with the names of their models, of some models or of all."""
    query = (
        select(Alert, Model.name)
        .outerjoin(Model, Model.id == Alert.model_id)
        .where(Alert.incident_id == alert.incident_id, Alert.id != alert.id)
    )
    if model_ids is not None:
        query = query.where(Alert.model_id.in_(model_ids))
    return db.execute(query.order_by(Alert.opened_at, Alert.id).limit(MOST_BESIDE)).all()


def newest_notes(
    db: Session, incident_id: UUID, model_ids: Collection[UUID] | None, limit: int
) -> Sequence[IncidentNote]:
    """The newest lines of a timeline, newest first.

    For a caller of some models, lines about alerts of others are left out; where the incident has alerts of models
    outside them, so are the lines about the whole incident, which may speak of those.
    """
    query = select(IncidentNote).where(IncidentNote.incident_id == incident_id)
    if model_ids is not None:
        own = select(Alert.id).where(Alert.incident_id == incident_id, Alert.model_id.in_(model_ids))
        mine = IncidentNote.alert_id.in_(own)
        whole = outside_models(db, incident_id, model_ids)
        query = query.where(mine if whole else mine | IncidentNote.alert_id.is_(None))
    return db.scalars(query.order_by(IncidentNote.number.desc()).limit(limit)).all()


def outside_models(db: Session, incident_id: UUID, model_ids: Collection[UUID]) -> bool:
    """Whether an incident has an alert of a model that is none of these."""
    other = Alert.model_id.not_in(model_ids) | Alert.model_id.is_(None)
    query = select(Alert.id).where(Alert.incident_id == incident_id, other).limit(1)
    return db.scalar(query) is not None

"""Queries of incidents, their timelines and mutes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from monitor.errors import IncidentNotFoundError
from monitor.tables import Alert, Incident, IncidentNote


def incident(db: Session, incident_id: UUID, *, lock: bool = False) -> Incident:
    """The incident with this id.

    Raises:
        IncidentNotFoundError: no incident has this id.
    """
    found = db.get(Incident, incident_id, with_for_update=lock or None)
    if found is None:
        raise IncidentNotFoundError(incident_id)
    return found


def unresolved_incidents(db: Session, model_id: UUID | None) -> Sequence[Incident]:
    """The unresolved incidents of a model, or of the installation, newest first."""
    query = select(Incident).where(Incident.model_id == model_id, Incident.state != "resolved")
    return db.scalars(query.order_by(Incident.opened_at.desc(), Incident.id)).all()


def alerts_of_incident(db: Session, incident_id: UUID) -> Sequence[Alert]:
    return db.scalars(select(Alert).where(Alert.incident_id == incident_id).order_by(Alert.opened_at, Alert.id)).all()


def notes(db: Session, incident_id: UUID) -> Sequence[IncidentNote]:
    """The timeline of an incident, oldest first."""
    query = select(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalars(query.order_by(IncidentNote.number)).all()


def note_count(db: Session, incident_id: UUID) -> int:
    query = select(func.count()).select_from(IncidentNote).where(IncidentNote.incident_id == incident_id)
    return db.scalar(query) or 0

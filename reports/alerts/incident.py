"""One incident as a caller may see it: its alerts, timeline, runs, deploys, clock and post-mortem.

A caller of some models sees the parts of those. What is about the whole incident (comments, who has it, the
post-mortem) may speak of the others, and is shown only to whoever sees all of its models.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.alerts import post_mortems, serious, store
from monitor.alerts.common_cause import common_cause
from monitor.alerts.severity import rank
from monitor.alerts.tables import IncidentLink, PostMortem, SeriousIncident
from monitor.notify.deploys import LOOK_BACK
from monitor.notify.tables import Deploy
from monitor.tables import ALERT_STATES, Alert, Incident, IncidentNote, Model
from retrain.tables import Run

MOST: Final = 20
MOST_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class LinkedRun:
    """A retrain of one of its models. `by`: who linked it; None where its time did."""

    id: UUID
    model: str
    state: str
    created_at: datetime
    candidate: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class LinkedDeploy:
    """A deploy to one of its models. `by`: who linked it; None where its time did."""

    id: UUID
    model: str
    version: str
    at: datetime
    by: str | None


@dataclass(frozen=True, slots=True)
class RelatedIncident:
    """Another incident of the same hours. `cause`: what both have in common; None for the hours alone."""

    id: UUID
    headline: str
    models: tuple[str, ...]
    state: str
    severity: str
    from_ts: datetime
    cause: str | None


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the clock of a serious incident stands."""

    id: UUID
    model: str
    kind: str
    rule: str
    aware_at: datetime
    deadline: datetime
    clock: str
    state: str


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as a caller may see it. `whole`: whether that is all of it. Names stand for models, None for the
    installation. `merged_into`: the incident that has its alerts now.
    """

    incident: Incident
    whole: bool
    headline: str
    severity: str
    state: str
    owner: str | None
    models: tuple[str | None, ...]
    alerts: tuple[tuple[Alert, str | None], ...]
    notes: tuple[IncidentNote, ...]
    runs: tuple[LinkedRun, ...]
    deploys: tuple[LinkedDeploy, ...]
    merged: tuple[UUID, ...]
    merged_into: UUID | None
    related: tuple[RelatedIncident, ...]
    clock: Clock | None
    post_mortems: tuple[PostMortem, ...]


def incident_view(db: Session, incident: Incident, seen: Collection[UUID] | None, now: datetime) -> IncidentView:
    """What a caller may see of an incident.

    Args:
        seen: ids of the models that the caller may read about; None for all.
    """
    names: dict[UUID | None, str] = {row.id: row.name for row in db.scalars(select(Model))}
    alerts = store.alerts_of_incident(db, incident.id, seen)
    whole = sees_all(db, incident, seen)
    ids = [*dict.fromkeys((incident.model_id, *(a.model_id for a in alerts)))]
    mine = [ident for ident in ids if seen is None or ident in seen]
    headline, severity, state = visible(incident, alerts, whole=whole)
    models = [ident for ident in mine if ident is not None]
    links = db.scalars(select(IncidentLink).where(IncidentLink.incident_id == incident.id)).all()
    into = select(IncidentLink.incident_id).where(IncidentLink.kind == "incident", IncidentLink.target == incident.id)
    return IncidentView(
        incident=incident, whole=whole, headline=headline, severity=severity, state=state,
        owner=incident.owner if whole else None, models=tuple(names.get(ident) for ident in mine),
        alerts=tuple((a, names.get(a.model_id)) for a in alerts),
        notes=tuple(store.newest_notes(db, incident.id, seen, MOST_LINES)),
        runs=_runs(db, incident, models, links, seen, names, now),
        deploys=_deploys(db, incident, models, links, seen, names),
        merged=tuple(link.target for link in links if link.kind == "incident" and whole),
        merged_into=db.scalars(into).first() if whole else None, related=_related(db, incident, seen, names),
        clock=_clock(db, incident, seen, names, now),
        post_mortems=tuple(post_mortems.versions(db, incident.id)) if whole else (),
    )  # fmt: skip


def sees_all(db: Session, incident: Incident, seen: Collection[UUID] | None) -> bool:
    """Whether a caller may read about every model of an incident."""
    if seen is None:
        return True
    return incident.model_id in seen and not store.outside_models(db, incident.id, seen)


def visible(incident: Incident, alerts: Sequence[Alert], *, whole: bool) -> tuple[str, str, str]:
    """Headline, severity and state: of the incident, or of the alerts that are seen of it."""
    if whole or not alerts:
        return incident.headline if whole else "", incident.severity, incident.state
    lasting = [a for a in alerts if a.state != "resolved"]
    worst = max(lasting or alerts, key=lambda a: rank(a.severity))
    return worst.sentence, worst.severity, min((a.state for a in alerts), key=ALERT_STATES.index)


def _runs(
    db: Session, incident: Incident, models: Sequence[UUID], links: Sequence[IncidentLink],
    seen: Collection[UUID] | None, names: dict[UUID | None, str], now: datetime,
) -> tuple[LinkedRun, ...]:  # fmt: skip
    """Retrains that began while it lasted, and those that people linked."""
    by = {link.target: link.linked_by for link in links if link.kind == "run" and link.removed_at is None}
    begin, end = min(incident.from_ts, incident.opened_at), incident.resolved_at or now
    own = Run.model_id.in_(models) & Run.created_at.between(begin, end)
    query = select(Run).where(own | Run.id.in_(list(by)))
    query = query if seen is None else query.where(Run.model_id.in_(seen))
    return tuple(
        LinkedRun(r.id, names[r.model_id], r.state, r.created_at, r.candidate_version, by.get(r.id))
        for r in db.scalars(query.order_by(Run.created_at.desc()).limit(MOST))
    )


def _deploys(
    db: Session, incident: Incident, models: Sequence[UUID], links: Sequence[IncidentLink],
    seen: Collection[UUID] | None, names: dict[UUID | None, str],
) -> tuple[LinkedDeploy, ...]:  # fmt: skip
    """Deploys from two days before it began to its end, and those that people linked."""
    by = {link.target: link.linked_by for link in links if link.kind == "deploy" and link.removed_at is None}
    in_time = Deploy.at.between(incident.from_ts - LOOK_BACK, incident.to_ts)
    query = select(Deploy).where((Deploy.model_id.in_(models) & in_time) | Deploy.id.in_(list(by)))
    query = query if seen is None else query.where(Deploy.model_id.in_(seen))
    return tuple(
        LinkedDeploy(d.id, names[d.model_id], d.version, d.at, by.get(d.id))
        for d in db.scalars(query.order_by(Deploy.at.desc()).limit(MOST))
    )


def _related(
    db: Session, incident: Incident, seen: Collection[UUID] | None, names: dict[UUID | None, str]
) -> tuple[RelatedIncident, ...]:
    """Other incidents of the same hours, those with a common cause first."""
    query = select(Incident).where(
        Incident.id != incident.id, Incident.from_ts <= incident.to_ts, Incident.to_ts >= incident.from_ts
    )
    if seen is not None:
        query = query.where(store.touches(seen))
    found = []
    for other in db.scalars(query.order_by(Incident.opened_at.desc(), Incident.id).limit(MOST)):
        alerts = store.alerts_of_incident(db, other.id, seen)
        if not alerts:
            continue
        headline, severity, state = visible(other, alerts, whole=seen is None)
        about = dict.fromkeys(names.get(a.model_id, "the installation") for a in alerts)
        cause = common_cause(db, incident.model_id, other.model_id, incident.from_ts, incident.to_ts)
        found.append(RelatedIncident(other.id, headline, tuple(about), state, severity, other.from_ts, cause))
    return tuple(sorted(found, key=lambda r: r.cause is None))


def _clock(
    db: Session, incident: Incident, seen: Collection[UUID] | None, names: dict[UUID | None, str], now: datetime
) -> Clock | None:
    row = db.scalars(select(SeriousIncident).where(SeriousIncident.incident_id == incident.id)).first()
    if row is None or (seen is not None and row.model_id not in seen):
        return None
    return Clock(
        row.id, names[row.model_id], row.kind, serious.WORDS[row.kind], row.aware_at, row.deadline,
        serious.standing(row, now), row.state,
    )  # fmt: skip

"""Routes for incidents and mutes: list, read, and everything people do about them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach, seen_ids
from api.routes.alerts import AlertOut, Limit, NoteIn, State, with_models
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor.alerts import actions, store
from monitor.tables import Incident, Mute

router = APIRouter(prefix="/api/v1", tags=["incidents"])
Reader = Annotated[Caller, requires(Permission.READ)]
Lister = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE)]


class AssignIn(In):
    owner: str | None = Field(None, min_length=1, max_length=100, description="a person or team; null for nobody")


class CommentIn(In):
    text: str = Field(min_length=1, max_length=2000)


class SnoozeIn(In):
    until: Moment | None = Field(None, description="no messages before; null ends a snooze")
    note: str | None = Field(None, max_length=2000)


class MuteIn(In):
    model: str | None = Field(None, description="null for alerts about the installation itself")
    monitor: str = Field("", max_length=100)
    metric: str = Field("", max_length=64)
    column: str = Field("", max_length=128)
    reason: str = Field(min_length=1, max_length=2000)
    until: Moment


class NoteOut(Out):
    number: int
    at: datetime
    actor: str
    kind: str
    text: str
    alert_id: UUID | None


class IncidentOut(Out):
    """An incident; `model` is null where it is about the installation itself."""

    id: UUID
    model: str | None = None
    headline: str
    severity: str
    state: str
    owner: str | None
    from_ts: datetime
    to_ts: datetime
    opened_at: datetime
    resolved_at: datetime | None
    snoozed_until: datetime | None


class IncidentDetailsOut(IncidentOut):
    alerts: list[AlertOut] = Field(default_factory=list)
    timeline: list[NoteOut] = Field(default_factory=list)


class MuteOut(Out):
    id: UUID
    model: str | None = None
    monitor: str
    metric: str
    column: str
    reason: str
    until: datetime
    created_at: datetime
    created_by: str
    ended_by: str | None


@router.get("/incidents")
def list_incidents(
    caller: Lister, db: ReadDb, model: str | None = None, state: State | None = None, limit: Limit = 200
) -> Page[IncidentOut]:
    """Newest first; those of the installation itself too, unless a model is named."""
    found = store.incidents(db, model_ids=seen_ids(db, caller, model), state=state, limit=limit)
    return Page[IncidentOut](items=with_models(db, IncidentOut, found))


@router.get("/incidents/{incident_id}")
def read(_: Reader, incident_id: UUID, db: ReadDb) -> IncidentDetailsOut:
    return _details(db, store.incident(db, incident_id))


@router.post("/incidents/{incident_id}/acknowledge")
def acknowledge(
    caller: Worker, incident_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None
) -> IncidentDetailsOut:
    """Acknowledge every open alert of the incident."""
    note = body.note if body else None
    return _details(db, actions.acknowledge_incident(site, db, incident_id, caller.name, note))


@router.post("/incidents/{incident_id}/resolve")
def resolve(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None) -> IncidentDetailsOut:
    """Resolve every alert of the incident."""
    note = body.note if body else None
    return _details(db, actions.resolve_incident(site, db, incident_id, caller.name, note))


@router.post("/incidents/{incident_id}/assign")
def assign(caller: Worker, incident_id: UUID, body: AssignIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    return _details(db, actions.assign(site, db, incident_id, caller.name, body.owner))


@router.post("/incidents/{incident_id}/comment")
def comment(caller: Worker, incident_id: UUID, body: CommentIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    return _details(db, actions.comment(site, db, incident_id, caller.name, body.text))


@router.post("/incidents/{incident_id}/snooze")
def snooze(caller: Worker, incident_id: UUID, body: SnoozeIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    """Send no messages about the incident until a time; then say whether it lasts."""
    return _details(db, actions.snooze(site, db, incident_id, caller.name, body.until, body.note))


@router.get("/mutes")
def list_mutes(caller: Lister, site: SiteDep, db: ReadDb) -> Page[MuteOut]:
    """Those in force, the first to end first."""
    found = with_models(db, MuteOut, store.active_mutes(db, site.clock.now()))
    return Page[MuteOut](items=[mute for mute in found if caller.sees(mute.model)])


@router.post("/mutes", status_code=201)
def mute(
    caller: Annotated[Caller, requires(Permission.ALERT_WRITE, Reach.LISTED)], body: MuteIn, site: SiteDep, db: Db
) -> MuteOut:
    """Let alerts of a model send no messages until a time. Their alarms are recorded all the same."""
    require_model(caller, body.model, "the model of the mute")
    made = actions.mute(
        site, db, caller.name, model=body.model, monitor=body.monitor, metric=body.metric, column=body.column,
        reason=body.reason, until=body.until,
    )  # fmt: skip
    return _muted(db, made)


@router.post("/mutes/{mute_id}/end")
def end_mute(caller: Worker, mute_id: UUID, site: SiteDep, db: Db) -> MuteOut:
    return _muted(db, actions.end_mute(site, db, mute_id, caller.name))


def _muted(db: Session, found: Mute) -> MuteOut:
    return with_models(db, MuteOut, [found])[0]


def _details(db: Session, incident: Incident) -> IncidentDetailsOut:
    db.flush()
    [found] = with_models(db, IncidentDetailsOut, [incident])
    alerts = with_models(db, AlertOut, store.alerts_of_incident(db, incident.id))
    timeline = [NoteOut.of(note) for note in store.notes(db, incident.id)]
    return found.model_copy(update={"alerts": alerts, "timeline": timeline})

"""Routes for incidents and mutes: list, read, and everything people do about them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.incidents import link_one, merge_two, require_whole, unlink_one
from api.http.reach import Reach, seen_ids
from api.routes.alerts import AlertOut, Limit, NoteIn, State, with_models
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor.alerts import actions, post_mortems, store
from monitor.site import Site
from monitor.tables import Incident, Mute
from reports.alerts.incident import (
    Clock,
    LinkedDeploy,
    LinkedRun,
    RelatedIncident,
    incident_view,
    sees_all,
    visible,
)

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


class PostMortemIn(In):
    happened: str = Field("", max_length=post_mortems.MAX_CHARS)
    impact: str = Field("", max_length=post_mortems.MAX_CHARS)
    cause: str = Field("", max_length=post_mortems.MAX_CHARS)
    done: str = Field("", max_length=post_mortems.MAX_CHARS, description="what was done about it")
    will_change: str = Field("", max_length=post_mortems.MAX_CHARS)


class PostMortemOut(Out):
    """One version of a post-mortem; `digest` of its texts is in the ledger."""

    version: int
    happened: str
    impact: str
    cause: str
    done: str
    will_change: str
    author: str
    written_at: datetime
    digest: str


class LinkIn(In):
    """What to link: one of the three."""

    alert: UUID | None = Field(None, description="an alert of any model; it leaves the incident that it belongs to")
    run: UUID | None = None
    deploy: UUID | None = None
    note: str | None = Field(None, max_length=2000)


class MergeIn(In):
    incident: UUID = Field(description="the incident whose alerts are moved into this one; it is closed")
    note: str | None = Field(None, max_length=2000)


class IncidentDetailsOut(IncidentOut):
    """An incident as the caller may see it.

    `whole` is false for a caller of some of its models: then only the parts about those are here. `runs` and `deploys`
    are linked by their time, or by the person in `by`. `related`: others of the same hours; `cause` is what both have
    in common. `merged_into`: where its alerts are now.
    """

    whole: bool = True
    models: list[str | None] = Field(default_factory=list)
    alerts: list[AlertOut] = Field(default_factory=list)
    timeline: list[NoteOut] = Field(default_factory=list)
    runs: list[LinkedRun] = Field(default_factory=list)
    deploys: list[LinkedDeploy] = Field(default_factory=list)
    merged: list[UUID] = Field(default_factory=list)
    merged_into: UUID | None = None
    related: list[RelatedIncident] = Field(default_factory=list)
    clock: Clock | None = Field(None, description="of a serious incident")
    post_mortem: PostMortemOut | None = Field(None, description="the newest version")


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
    """Newest first; those of the installation itself too, unless a model is named.

    Of an incident across models, a caller of some of them sees headline, severity and state of their alerts.
    """
    seen = seen_ids(db, caller, model)
    found = store.incidents(db, model_ids=seen, state=state, limit=limit)
    scope = seen_ids(db, caller)
    listed = with_models(db, IncidentOut, found)
    if scope is not None:
        pairs = zip(listed, found, strict=True)
        listed = [out.model_copy(update=_part(db, row, scope, out.model)) for out, row in pairs]
    return Page[IncidentOut](items=listed)


@router.get("/incidents/{incident_id}")
def read(caller: Reader, incident_id: UUID, site: SiteDep, db: ReadDb) -> IncidentDetailsOut:
    return _details(site, db, caller, store.incident(db, incident_id))


@router.post("/incidents/{incident_id}/acknowledge")
def acknowledge(
    caller: Worker, incident_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None
) -> IncidentDetailsOut:
    """Acknowledge every open alert of the incident that the caller sees."""
    note, seen = body.note if body else None, seen_ids(db, caller)
    return _details(site, db, caller, actions.acknowledge_incident(site, db, incident_id, caller.name, note, seen))


@router.post("/incidents/{incident_id}/resolve")
def resolve(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, body: NoteIn | None = None) -> IncidentDetailsOut:
    """Resolve every alert of the incident that the caller sees."""
    note, seen = body.note if body else None, seen_ids(db, caller)
    return _details(site, db, caller, actions.resolve_incident(site, db, incident_id, caller.name, note, seen))


@router.post("/incidents/{incident_id}/assign")
def assign(caller: Worker, incident_id: UUID, body: AssignIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    return _details(site, db, caller, actions.assign(site, db, incident_id, caller.name, body.owner))


@router.post("/incidents/{incident_id}/comment")
def comment(caller: Worker, incident_id: UUID, body: CommentIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    return _details(site, db, caller, actions.comment(site, db, incident_id, caller.name, body.text))


@router.post("/incidents/{incident_id}/snooze")
def snooze(caller: Worker, incident_id: UUID, body: SnoozeIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    """Send no messages about the incident until a time; then say whether it lasts."""
    require_whole(db, caller, incident_id)
    return _details(site, db, caller, actions.snooze(site, db, incident_id, caller.name, body.until, body.note))


@router.post("/incidents/{incident_id}/link")
def link(caller: Worker, incident_id: UUID, body: LinkIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    """Link an alert, a run or a deploy, of any model that the caller sees."""
    return _details(
        site, db, caller, link_one(site, db, caller, incident_id, body.alert, body.run, body.deploy, body.note)
    )


@router.post("/incidents/{incident_id}/unlink")
def unlink(caller: Worker, incident_id: UUID, body: LinkIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    """Take an alert out, which gets an incident of its own; or take back a person's link to a run or a deploy."""
    return _details(
        site, db, caller, unlink_one(site, db, caller, incident_id, body.alert, body.run, body.deploy, body.note)
    )


@router.post("/incidents/{incident_id}/merge")
def merge(caller: Worker, incident_id: UUID, body: MergeIn, site: SiteDep, db: Db) -> IncidentDetailsOut:
    """Move every alert of another incident into this one, and close the other."""
    return _details(site, db, caller, merge_two(site, db, caller, incident_id, body.incident, body.note))


@router.get("/incidents/{incident_id}/post-mortems")
def list_post_mortems(caller: Reader, incident_id: UUID, db: ReadDb) -> Page[PostMortemOut]:
    """Every version, the newest first; only for callers who see all models of the incident."""
    require_whole(db, caller, incident_id)
    return Page[PostMortemOut](items=[PostMortemOut.of(row) for row in post_mortems.versions(db, incident_id)])


@router.post("/incidents/{incident_id}/post-mortem", status_code=201)
def write_post_mortem(caller: Worker, incident_id: UUID, body: PostMortemIn, site: SiteDep, db: Db) -> PostMortemOut:
    """Write the first or the next version; earlier ones are kept, and the ledger has a digest of each."""
    require_whole(db, caller, incident_id)
    text = post_mortems.PostMortemText(**body.model_dump())
    row = post_mortems.write(site, db, incident_id, caller.name, text)
    db.flush()
    return PostMortemOut.of(row)


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


def _part(db: Session, row: Incident, seen: list[UUID], model: str | None) -> dict[str, str | None]:
    """What a caller of some models sees in place of the whole incident."""
    whole = sees_all(db, row, seen)
    headline, severity, state = visible(row, store.alerts_of_incident(db, row.id, seen), whole=whole)
    return {
        "headline": headline, "severity": severity, "state": state, "owner": row.owner if whole else None,
        "model": model if row.model_id in seen else None,
    }  # fmt: skip


def _details(site: Site, db: Session, caller: Caller, incident: Incident) -> IncidentDetailsOut:
    db.flush()
    seen = seen_ids(db, caller)
    view = incident_view(db, incident, seen, site.clock.now())
    [found] = with_models(db, IncidentDetailsOut, [incident])
    newest = view.post_mortems[0] if view.post_mortems else None
    return found.model_copy(
        update={
            "headline": view.headline, "severity": view.severity, "state": view.state, "owner": view.owner,
            "model": found.model if seen is None or incident.model_id in seen else None, "whole": view.whole,
            "models": list(view.models), "alerts": with_models(db, AlertOut, [alert for alert, _ in view.alerts]),
            "timeline": [NoteOut.of(note) for note in reversed(view.notes)], "runs": list(view.runs),
            "deploys": list(view.deploys), "merged": list(view.merged), "merged_into": view.merged_into,
            "related": list(view.related), "clock": view.clock,
            "post_mortem": None if newest is None else PostMortemOut.of(newest),
        }
    )  # fmt: skip

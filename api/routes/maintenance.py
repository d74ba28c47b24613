"""Routes for maintenance windows and deploy markers."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor import store
from monitor.notify import deploys, maintenance
from monitor.notify.tables import Maintenance

router = APIRouter(prefix="/api/v1", tags=["maintenance"])
Reader = Annotated[Caller, requires(Permission.READ)]
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE)]
Deployer = Annotated[Caller, requires(Permission.EVENTS_WRITE)]  # the key of the application is enough


class MaintenanceIn(In):
    model: str | None = Field(None, description="null: every model")
    from_ts: Moment | None = Field(None, alias="from", description="without it, now")
    to_ts: Moment = Field(alias="to")
    reason: str = Field(min_length=1, max_length=2000)


class MaintenanceOut(Out):
    id: UUID
    model: str | None
    from_ts: datetime = Field(serialization_alias="from")
    to_ts: datetime = Field(serialization_alias="to")
    reason: str
    created_at: datetime
    created_by: str
    ended_by: str | None


class DeployIn(In):
    version: str = Field(min_length=1, max_length=256)
    at: Moment | None = Field(None, description="without it, now")
    note: str | None = Field(None, max_length=2000)


class DeployOut(Out):
    id: UUID
    version: str
    at: datetime
    note: str | None
    created_at: datetime
    created_by: str


@router.post("/maintenance", status_code=201)
def declare_maintenance(
    caller: Annotated[Caller, requires(Permission.ALERT_WRITE, Reach.LISTED)],
    site: SiteDep,
    db: Db,
    body: MaintenanceIn,
) -> MaintenanceOut:
    require_model(caller, body.model, "the model of the maintenance")
    begin = body.from_ts or site.clock.now()
    row = maintenance.declare(site, db, body.model, begin, body.to_ts, body.reason, caller.name)
    return _shown(row, body.model)


@router.get("/maintenance")
def list_maintenance(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb
) -> Page[MaintenanceOut]:
    """Those that last, are to come, or ended within the last 30 days."""
    names = {model.id: model.name for model in store.models(db)}
    rows = maintenance.listed(db, since=site.clock.now() - timedelta(days=30))
    found = [(row, names[row.model_id] if row.model_id else None) for row in rows]
    return Page[MaintenanceOut].of(
        _shown(row, name)
        for row, name in found
        if name is None or caller.sees(name)  # one of all models is theirs too
    )


@router.delete("/maintenance/{maintenance_id}")
def end_maintenance(caller: Worker, maintenance_id: UUID, site: SiteDep, db: Db) -> MaintenanceOut:
    """End it now; one that has not begun never begins."""
    row = maintenance.end(site, db, maintenance_id, caller.name)
    names = {model.id: model.name for model in store.models(db)}
    return _shown(row, names[row.model_id] if row.model_id else None)


def _shown(row: Maintenance, model: str | None) -> MaintenanceOut:
    return MaintenanceOut(
        id=row.id, model=model, from_ts=row.from_ts, to_ts=row.to_ts, reason=row.reason, created_at=row.created_at,
        created_by=row.created_by, ended_by=row.ended_by,
    )  # fmt: skip


@router.post("/models/{model}/deploys", status_code=201, responses={200: {"model": DeployOut}})
def record_deploy(caller: Deployer, model: str, site: SiteDep, db: Db, body: DeployIn, response: Response) -> DeployOut:
    """Record that a version was put into service; 200 if that was known."""
    row, new = deploys.record(site, db, model, body.version, body.at, body.note, caller.name)
    response.status_code = 201 if new else 200
    return DeployOut.of(row)


@router.get("/models/{model}/deploys")
def list_deploys(_: Reader, model: str, db: ReadDb) -> Page[DeployOut]:
    return Page[DeployOut].of(deploys.listed(db, store.model(db, model).id))

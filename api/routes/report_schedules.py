"""Routes for schedules of reports, and for the regime packs that reports may be held against."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from api.routes.reports import Names
from core.errors import AppError
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_all_models, require_model
from monitor.site import Site
from monitor.tables import Model
from reports import schedules
from reports.regimes.packs import pack_of, packs
from reports.tables import ReportSchedule

router = APIRouter(prefix="/api/v1", tags=["reports"])
Listed = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]


class ScheduleIn(In):
    model: str | None = Field(None, max_length=63, description="either a model, or an owner: all their models")
    owner: str | None = Field(None, min_length=1, max_length=200)
    kind: str = Field("audit", max_length=32)
    every: Literal["month", "quarter", "cron"] = Field(
        description="month or quarter: a report of the last one; cron: a report of the time since the tick before"
    )
    cron: str | None = Field(None, max_length=200, description="when it ticks; without it on the first day, at 06:00")
    zone: str = Field("UTC", max_length=64)
    regimes: Names = ()
    deliver_to: Names = ()


class ScheduleOut(Out):
    id: UUID
    model: str | None
    owner: str | None
    kind: str
    every: str
    cron: str
    zone: str
    regimes: list[Any]
    deliver_to: list[Any]
    created_by: str
    created_at: datetime
    last_due: datetime | None
    next_due: datetime | None
    problem: str | None


class RequirementOut(Out):
    id: str
    ref: str
    title: str
    asks: str
    applicable_from: date | None
    evidence: tuple[str, ...]
    people: str


class ChangeOut(Out):
    date: date
    note: str


class RegimeOut(Out):
    """A pack: what it asks for, since when, and which evidence of a report answers it."""

    id: str
    title: str
    version: str
    digest: str
    applicable_from: date | None
    scope: str
    basis: str
    changes: tuple[ChangeOut, ...]
    requirements: tuple[RequirementOut, ...]


@router.get("/regimes")
def list_regimes(_: Annotated[Caller, requires(Permission.READ, Reach.SERVICE)]) -> Page[RegimeOut]:
    return Page[RegimeOut].of(packs().values())


@router.get("/regimes/{pack}")
def read_regime(_: Annotated[Caller, requires(Permission.READ, Reach.SERVICE)], pack: str) -> RegimeOut:
    return RegimeOut.of(pack_of(pack))


@router.post("/report-schedules", status_code=201)
def declare_schedule(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE, Reach.LISTED)], body: ScheduleIn, site: SiteDep, db: Db
) -> ScheduleOut:
    """A schedule of an owner's models needs a caller of all models."""
    if body.model is not None:
        require_model(caller, body.model, f"model {body.model!r}")
    elif body.owner is not None:
        require_all_models(caller)
    return told(site, db, schedules.declare(site, db, schedules.Wanted(**body.model_dump()), caller.name))


@router.get("/report-schedules")
def list_schedules(caller: Listed, site: SiteDep, db: ReadDb) -> Page[ScheduleOut]:
    """Those that last; for a caller of some models, those of these."""
    found = [told(site, db, row) for row in schedules.active(db)]
    return Page[ScheduleOut].of([one for one in found if caller.models is None or caller.sees(one.model)])


@router.delete("/report-schedules/{schedule_id}")
def end_schedule(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], schedule_id: UUID, site: SiteDep, db: Db
) -> ScheduleOut:
    """End a schedule; the reports it asked for stay."""
    return told(site, db, schedules.end(site, db, schedule_id, caller.name))


def told(site: Site, db: Session, row: ReportSchedule) -> ScheduleOut:
    due, problem = None, schedules.unset_words(site, row)
    try:
        due = schedules.next_due(row)
    except AppError as error:
        problem = error.message
    model = None if row.model_id is None else db.get_one(Model, row.model_id).name
    return ScheduleOut(
        id=row.id, model=model, owner=row.owner, kind=row.kind, every=row.every, cron=row.cron, zone=row.zone,
        regimes=row.regimes, deliver_to=row.deliver_to, created_by=row.created_by, created_at=row.created_at,
        last_due=row.last_due, next_due=due, problem=problem,
    )  # fmt: skip

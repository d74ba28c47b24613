"""Routes for serious incidents: declare, classify, report to an authority, close, export."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.reach import seen_ids
from api.routes.versions import ReasonIn
from core.canonical import canonical
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.alerts import serious
from monitor.alerts.serious import Kind, Stage
from monitor.alerts.tables import SeriousIncident
from monitor.site import Site

router = APIRouter(prefix="/api/v1/models/{model}/serious-incidents", tags=["governance"])
Reader = Annotated[Caller, requires(Permission.READ)]
Reporter = Annotated[Caller, requires(Permission.INCIDENT_REPORT)]


class DeclareIn(In):
    kind: Kind = Field(description="death: 10 days; widespread (or critical infrastructure): 2 days; other: 15 days")
    aware_at: Moment = Field(description="when somebody became aware; the clock runs from then")
    headline: str = Field(min_length=1, max_length=500)
    description: str = Field(min_length=1, max_length=5000, description="kept in the database; the ledger has a digest")
    incident: UUID | None = Field(None, description="an incident of the model that it is; without it, a new one")


class ClassifyIn(ReasonIn):
    kind: Kind
    aware_at: Moment | None = Field(None, description="an earlier awareness; it is never moved to a later time")


class ReportIn(In):
    stage: Stage = Field(description="initial: may be incomplete (Article 73 (5)); complete")
    authority: str = Field(min_length=1, max_length=500, description="who was told")
    reference: str = Field(min_length=1, max_length=500, description="the authority's or your own number of the report")
    at: Moment | None = Field(None, description="when it was told; without it, now")


class SeriousOut(Out):
    id: UUID
    model: str = ""
    incident_id: UUID
    kind: str
    rule: str = ""
    description: str
    aware_at: datetime
    deadline: datetime
    clock: str = Field("", description="running, overdue, kept, late, or closed without a report")
    state: str
    reports: list[dict[str, Any]]
    evidence: dict[str, Any] = Field(description="what was in force and known when it was declared")
    declared_at: datetime
    declared_by: str
    closed_at: datetime | None


@router.get("")
def list_serious(_: Reader, model: str, site: SiteDep, db: ReadDb) -> Page[SeriousOut]:
    """Newest first."""
    found = store.model(db, model)
    return Page[SeriousOut](items=[_out(site, model, row) for row in serious.listed(db, found.id)])


@router.post("", status_code=201)
def declare(caller: Reporter, model: str, body: DeclareIn, site: SiteDep, db: Db) -> SeriousOut:
    """Declare a serious incident (AI Act, Article 73); its deadline follows from kind and awareness."""
    row = serious.declare(
        site, db, model, caller.name, kind=body.kind, aware_at=body.aware_at, headline=body.headline,
        description=body.description, incident_id=body.incident,
    )  # fmt: skip
    return _out(site, model, row)


@router.get("/{serious_id}")
def read(_: Reader, model: str, serious_id: UUID, site: SiteDep, db: ReadDb) -> SeriousOut:
    return _out(site, model, serious.serious(db, store.model(db, model).id, serious_id))


@router.get("/{serious_id}/export")
def export(caller: Reader, model: str, serious_id: UUID, site: SiteDep, db: ReadDb) -> Response:
    """All that is recorded as one JSON document, for the authority."""
    row = serious.serious(db, store.model(db, model).id, serious_id)
    document = serious.export(site, db, row, seen_ids(db, caller))
    return Response(canonical(document), media_type="application/json")


@router.post("/{serious_id}/classify")
def classify(caller: Reporter, model: str, serious_id: UUID, body: ClassifyIn, site: SiteDep, db: Db) -> SeriousOut:
    row = _locked(db, model, serious_id)
    changed = serious.classify(
        site, db, row, caller.name, kind=body.kind, aware_at=body.aware_at, reason=body.reason
    )  # fmt: skip
    return _out(site, model, changed)


@router.post("/{serious_id}/report")
def report(caller: Reporter, model: str, serious_id: UUID, body: ReportIn, site: SiteDep, db: Db) -> SeriousOut:
    """Record that an authority was told."""
    row = _locked(db, model, serious_id)
    told = serious.report(
        site, db, row, caller.name, stage=body.stage, authority=body.authority, reference=body.reference, at=body.at
    )  # fmt: skip
    return _out(site, model, told)


@router.post("/{serious_id}/close")
def close(caller: Reporter, model: str, serious_id: UUID, body: ReasonIn, site: SiteDep, db: Db) -> SeriousOut:
    return _out(site, model, serious.close(site, db, _locked(db, model, serious_id), caller.name, body.reason))


def _locked(db: Db, model: str, serious_id: UUID) -> SeriousIncident:
    return serious.serious(db, store.model(db, model).id, serious_id, lock=True)


def _out(site: Site, model: str, row: SeriousIncident) -> SeriousOut:
    now = site.clock.now()
    extra = {"model": model, "rule": serious.WORDS[row.kind], "clock": serious.standing(row, now)}
    return SeriousOut.of(row).model_copy(update=extra)

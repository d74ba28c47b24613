"""Routes for the reasons of decisions, the tables that tell them, and what columns count over time."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Out, Page, ReadDb, SiteDep
from api.http.explaining import declared_reasons, request_reasons
from api.http.protected import reasons_for
from api.routes.events import read_event
from api.routes.monitoring import MeasurementOut, MeasurementQuery
from core.clock import check_period
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.errors import EventNotFoundError
from monitor.service import current_spec
from monitor.site import Site
from retrain.reasons.stored import reason_tables

router = APIRouter(prefix="/api/v1/models/{model}", tags=["reasons"])
Reader = Annotated[Caller, requires(Permission.READ)]
EventReader = Annotated[Caller, requires(Permission.EVENTS_READ)]
Again = Annotated[bool, Query(description="compute again what failed or was withheld, once its cause is mended")]
REASONS: Final = "/reasons"


class ReasonsOut(Out):
    """`state`: issued, none, withheld; or queued. `codes` in their order; `record` gives all that they follow from."""

    event_id: str
    state: Literal["issued", "none", "withheld", "queued"]
    why: str | None = None
    codes: list[dict[str, Any]] = Field(default_factory=list)
    findings: list[dict[str, Any]] = Field(default_factory=list)
    counterfactuals: dict[str, Any] | None = None
    record: dict[str, Any] | None = None


class ReasonTableOut(Out):
    version: str
    digest: str
    since_revision: int
    texts: dict[str, str]
    groups: dict[str, list[str]]
    changes: list[str]


class AttributionsOut(Out):
    """Measurements of the attributions of windows; `declared`: whether the spec watches them."""

    declared: bool
    items: list[MeasurementOut]
    next: str | None


@router.get("/reasons", responses={202: {"model": ReasonsOut}, 409: {}})
def reasons(
    caller: EventReader, model: str, event_id: str, site: SiteDep, db: ReadDb, response: Response, again: Again = False
) -> ReasonsOut:
    """The principal reasons of an adverse decision, or why none are given: 200 once known, 202 while a job finds out.

    Findings about protected columns are told to whoever may read these; that is recorded.
    """
    return _reasons(site, db, caller, model, event_id, response, again)


@router.get(
    "/events/{event_id:path}/reasons", response_model=ReasonsOut, responses={202: {"model": ReasonsOut}, 409: {}}
)
def reasons_at(
    caller: EventReader,
    model: str,
    event_id: str,
    site: SiteDep,
    db: ReadDb,
    request: Request,
    response: Response,
    again: Again = False,
) -> ReasonsOut | Response:
    """The same under the event's own address. Of an id that ends in `/reasons` the event itself is meant."""
    whole = event_id + REASONS
    written = str(request.scope.get("raw_path") or b"", "latin-1")
    meant = written and not written.endswith(REASONS)
    if meant or (site.events.event(model, event_id) is None and site.events.event(model, whole) is not None):
        shown = read_event(site, db, caller, model, whole, response)
        return JSONResponse(jsonable_encoder(shown), headers=dict(response.headers))
    return _reasons(site, db, caller, model, event_id, response, again)


@router.get("/reason-tables")
def tables(_: Reader, model: str, site: SiteDep, db: ReadDb) -> list[ReasonTableOut]:
    """Every version of the table of reasons, the newest first, each with what it says otherwise than the one before."""
    return [ReasonTableOut(**one) for one in reason_tables(site, db, store.model(db, model))]


@router.get("/attributions")
def attributions(
    _: Reader, model: str, query: Annotated[MeasurementQuery, Query()], site: SiteDep, db: ReadDb
) -> AttributionsOut:
    """What each column counts in the windows of a period: mean |SHAP|, the ranking, and whether it changed.

    `segment=channel=web` for one value of a segment. Only where the spec declares `monitors.attribution`.
    """
    check_period(query.from_, query.to)
    found = store.model(db, model)
    declared = current_spec(site, db, model).spec.monitors.attribution is not None
    rows = store.measurements(
        db, found.id, monitor="attribution", metric=query.metric, column=query.column, segments=query.segments,
        since=query.from_, until=query.to, after=query.cursor, limit=query.limit,
    )  # fmt: skip
    page = Page[MeasurementOut].of(rows, str(rows[-1].id) if len(rows) == query.limit else None)
    return AttributionsOut(declared=declared, items=page.items, next=page.next)


def _reasons(
    site: Site, db: Session, caller: Caller, model: str, event_id: str, response: Response, again: bool
) -> ReasonsOut:
    current = current_spec(site, db, model)
    if site.events.event(model, event_id) is None:
        raise EventNotFoundError(model, event_id)
    record = reasons_for(site, db, caller, model, event_id)
    stale = record is not None and record["result"]["state"] != "issued" and record["spec_revision"] != current.revision
    if record is None or stale or (again and record["result"]["state"] == "withheld"):
        declared_reasons(current)
        with site.database.write() as writing:
            request_reasons(site, writing, model, event_id, current.revision, again=again)
        response.status_code = 202
        return ReasonsOut(event_id=event_id, state="queued")
    result = record["result"]
    return ReasonsOut(
        event_id=event_id, state=result["state"], why=result["why"], codes=result["codes"],
        findings=result["findings"], counterfactuals=record.get("counterfactuals"), record=record,
    )  # fmt: skip

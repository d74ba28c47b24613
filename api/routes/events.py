"""Routes that receive events and outcomes, and return one event or its explanation."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, Out, ReadDb, SiteDep, form_of
from api.http.direct import DirectRoute
from api.http.explaining import explained_version, request_explanation
from api.http.intake import Intake, read_rows
from api.http.metrics import ServiceMetrics
from api.http.protected import columns_for, reasons_for, refuse_explained_protected, withheld_header
from core.clock import written_time
from core.errors import InvalidError
from core.jobs import Opinion
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.errors import EventNotFoundError
from monitor.ingest.media import ENCODINGS, JSON, MEDIA_TYPES
from monitor.ingest.receive import Body, Kind
from monitor.service import in_force
from monitor.site import Site
from monitor.tables import Model
from monitor.upkeep.protected import record_read
from retrain import store as retrained

router = APIRouter(prefix="/api/v1/models/{model}", tags=["events"])
ingest_router = APIRouter(prefix="/api/v1/models/{model}", tags=["events"], route_class=DirectRoute)
Writer = Annotated[Caller, requires(Permission.EVENTS_WRITE)]
ROW_BODIES: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {kind: {"schema": {}} for kind in MEDIA_TYPES}}
}
NEWEST: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "newest", "in": "query", "required": False, "schema": {"type": "string", "format": "date-time"},
            "description": "newest time of the history that the rows belong to, with its zone: they may be 20 years "
            "older than that, not only 20 years older than now",
        }
    ]
}  # fmt: skip
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]
Again = Annotated[bool, Query(description="compute again what failed or was withheld, once its cause is mended")]
EXPLANATION: Final = "/explanation"
_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":")
).encode  # built once; JSONResponse builds an encoder per request


class RejectionOut(Out):
    line: int
    field: str | None
    reason: str


class ReceiptOut(Out):
    accepted: int
    duplicates: int
    rejected: list[RejectionOut]
    rejected_total: int
    quarantined: int


class ExplanationOut(Out):
    event_id: str
    state: str
    version: str
    additivity_residual: float | None = None  # the largest of all outputs
    reason: str | None = None  # why no reasons are issued, where the state is withheld
    explanation: dict[str, Any] | None = None
    reasons: dict[str, Any] | None = None  # the reason codes, where they were asked for before


@ingest_router.post("/events", response_model=ReceiptOut, openapi_extra=ROW_BODIES | NEWEST)
async def take_events(_: Writer, request: Request) -> Response:
    """Store events: NDJSON, a JSON array, Arrow or Parquet; durable when answered, idempotent by event_id."""
    return await _store_body(request, "events")


@ingest_router.post("/outcomes", response_model=ReceiptOut, openapi_extra=ROW_BODIES)
async def take_outcomes(_: Writer, request: Request) -> Response:
    """Store outcomes, joined to their events by event_id."""
    return await _store_body(request, "outcomes")


async def _store_body(request: Request, kind: Kind) -> Response:
    """Read the body and store it. FastAPI dependencies and a response model would cost more time than storing."""
    media_type, encoding = form_of(request, MEDIA_TYPES, ENCODINGS)
    intake: Intake = request.app.state.intake
    newest = _newest(request) if kind == "events" and request.scope["query_string"] else None
    limit_mb = request.app.state.site.settings.server.max_body_mb
    body = Body(await read_rows(request, intake, limit_mb), media_type, encoding, newest)
    started = time.perf_counter()
    receipt = await intake.store(request.path_params["model"], kind, body)
    rejected = [{"line": r.line, "field": r.field, "reason": r.reason} for r in receipt.rejected]
    answer = _encode(
        {
            "accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": rejected,
            "rejected_total": receipt.rejected_total, "quarantined": receipt.quarantined,
        }
    )  # fmt: skip
    metrics: ServiceMetrics = request.app.state.metrics
    metrics.stored(
        kind, media_type, time.perf_counter() - started, accepted=receipt.accepted, duplicates=receipt.duplicates,
        rejected=receipt.rejected_total,
    )  # fmt: skip
    return Response(answer, media_type=JSON)


def _newest(request: Request) -> datetime | None:
    written = request.query_params.get("newest")
    if written is None:
        return None
    try:
        at = written_time(written)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidError(
        f"newest is {written[:60]!r}; write a time with its zone, such as 2010-12-31T00:00:00Z",
        field="newest", value=written[:200],
    )  # fmt: skip


@router.get("/explanations", responses={202: {"model": ExplanationOut}, 409: {}})
def explain(
    caller: Reader, model: str, event_id: str, site: SiteDep, db: Db, response: Response, opinions: str = "",
    again: Again = False,
) -> ExplanationOut:  # fmt: skip
    """What each word or column did to one decision (SHAP): 200 once computed, 202 while a job computes it.

    `opinions` asks for second opinions beside it: some of lime, integrated_gradients, attention, with commas.
    """
    refuse_explained_protected(site, db, caller, model)
    found = _explanation(site, db, model, event_id, response, _opinions(opinions), again)
    found.reasons = reasons_for(site, db, caller, model, event_id, findings=False)
    return found


@router.get(
    "/events/{event_id:path}/explanation", response_model=ExplanationOut,
    responses={202: {"model": ExplanationOut}, 409: {}},
)  # fmt: skip
def explain_at(
    caller: Reader,
    model: str,
    event_id: str,
    site: SiteDep,
    db: Db,
    request: Request,
    response: Response,
    opinions: str = "",
    again: Again = False,
) -> ExplanationOut | Response:
    """The same under the event's own address.

    An id may end in `/explanation` itself. With the slash escaped (`%2F`) it is the event that is meant, and so it is
    where only that event exists.
    """
    whole = event_id + EXPLANATION
    written = str(request.scope.get("raw_path") or b"", "latin-1")
    meant = written and not written.endswith(EXPLANATION)
    if meant or (site.events.event(model, event_id) is None and site.events.event(model, whole) is not None):
        shown = read_event(site, db, caller, model, whole, response)
        return JSONResponse(jsonable_encoder(shown), headers=dict(response.headers))
    refuse_explained_protected(site, db, caller, model)
    found = _explanation(site, db, model, event_id, response, _opinions(opinions), again)
    found.reasons = reasons_for(site, db, caller, model, event_id, findings=False)
    return found


@router.get("/event")
def read(caller: Reader, model: str, event_id: str, site: SiteDep, db: ReadDb, response: Response) -> dict[str, Any]:
    """One event with its outcome columns, if any; a subject is its digest. Any id can be asked for so.

    Protected columns are left out, and named in X-Assay-Withheld, unless the caller may read them; that is recorded.
    """
    return read_event(site, db, caller, model, event_id, response)


@router.get("/events/{event_id:path}")
def read_at(caller: Reader, model: str, event_id: str, site: SiteDep, db: ReadDb, response: Response) -> dict[str, Any]:
    """The same under the event's own address, its id escaped. `.` and `..` are ids that no address can end in."""
    return read_event(site, db, caller, model, event_id, response)


def _opinions(written: str) -> tuple[Opinion, ...]:
    """The second opinions that a query names, each once, in the order of the alphabet."""
    named = sorted({part.strip() for part in written.split(",") if part.strip()})
    known: tuple[Opinion, ...] = get_args(Opinion)
    for name in named:
        if name not in known:
            raise InvalidError(
                f"opinions names {name[:60]!r}; write some of {', '.join(known)}", field="opinions", value=name[:200]
            )
    return tuple(name for name in known if name in named)


def _explanation(
    site: Site, db: Session, model: str, event_id: str, response: Response, opinions: tuple[Opinion, ...], again: bool
) -> ExplanationOut:
    found = store.model(db, model)
    event = _event(site, model, event_id)
    if opinions:  # refused here, for a job that fails would alarm the operators
        from retrain.explain.tables import check_opinions  # polars, which only this question needs

        check_opinions(in_force(site, db, found).spec, opinions)
    version = explained_version(site, db, found, event["version"])
    document, residual = _kept(site, db, found, event, version)
    withheld = document is not None and document.get("state") == "withheld"
    told = document is not None and {*document.get("opinions", ())}.issuperset(opinions)
    if document is None or not told or (again and withheld):
        request_explanation(site, db, found, event, opinions, again=again)
        response.status_code = 202
        return ExplanationOut(event_id=event_id, state="queued", version=version)
    return ExplanationOut(
        event_id=event_id, state="withheld" if withheld else "ready", version=version, additivity_residual=residual,
        reason=document.get("reason"), explanation=document,
    )  # fmt: skip


def _kept(
    site: Site, db: Session, model: Model, event: Mapping[str, Any], version: str
) -> tuple[dict[str, Any] | None, float | None]:
    """The record of a decision and its largest residual: one of its own, or a line of a block; None for none."""
    stored = retrained.explanation(db, model.id, event["event_id"], version)
    if stored is not None:
        return json.loads(site.artifacts.get(stored.artifact)), stored.additivity_residual
    blocks = retrained.blocks_with(db, model.id, event["seq"], version)
    if not blocks:
        return None, None
    from retrain.explain.blocks import document_of  # polars, which only a block needs

    return document_of(site, in_force(site, db, model).spec, blocks, event)


def read_event(
    site: Site, db: Session, caller: Caller, model: str, event_id: str, response: Response
) -> dict[str, Any]:
    _, protected, may = columns_for(site, db, caller, model)
    event = _event(site, model, event_id)
    if may and (there := protected & {*event}):
        record_read(site, caller, model, there, "event", count=1, since=event["ts"], until=event["ts"])
    elif not may:
        event = {name: value for name, value in event.items() if name not in protected}
        response.headers.update(withheld_header(protected))
    return {name: value.isoformat() if isinstance(value, datetime | date) else value for name, value in event.items()}


def _event(site: Site, model: str, event_id: str) -> dict[str, Any]:
    event = site.events.event(model, event_id)
    if event is None:
        raise EventNotFoundError(model, event_id)
    return event

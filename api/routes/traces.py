"""Routes that receive spans over OTLP/HTTP, and list the services whose spans no model takes."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from api.http.auth import requires
from api.http.deps import Out, ReadDb, SiteDep, form_of
from api.http.direct import DirectRoute
from api.http.intake import Intake, read_rows
from api.http.metrics import ServiceMetrics
from api.http.reach import Reach
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.ingest.media import ENCODINGS, OTLP_TYPES
from monitor.ingest.otlp import span_counts
from monitor.site import Site

if TYPE_CHECKING:
    from monitor.ingest.otlp.verdict import SpanVerdict

router = APIRouter(tags=["traces"])
ingest_router = APIRouter(tags=["traces"], route_class=DirectRoute)
SPAN_BODIES: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {kind: {"schema": {}} for kind in OTLP_TYPES}},
    "responses": {"200": {"content": {kind: {"schema": {}} for kind in OTLP_TYPES}}},
}
Writer = Annotated[Caller, requires(Permission.EVENTS_WRITE, Reach.LISTED)]
Reader = Annotated[Caller, requires(Permission.READ, Reach.ALL)]


class UnmappedServiceOut(Out):
    service: str
    spans: int
    first_at: datetime
    last_at: datetime
    sample: dict[str, Any]


class SpanCountOut(Out):
    service: str
    result: str
    spans: int


@ingest_router.post("/v1/traces", openapi_extra=SPAN_BODIES)
async def take_traces(caller: Writer, request: Request) -> Response:
    """Store the spans that models' `traces` mappings select: OTLP/HTTP, protobuf or JSON; durable when answered."""
    media_type, encoding = form_of(request, OTLP_TYPES, ENCODINGS)
    intake: Intake = request.app.state.intake
    site: Site = request.app.state.site
    limit_mb = site.settings.server.max_body_mb
    body = await read_rows(request, intake, limit_mb)
    started = time.perf_counter()
    verdict, answer = await intake.run(lambda: _stored(site, body, media_type, encoding, caller.models))
    metrics: ServiceMetrics = request.app.state.metrics
    metrics.stored(
        "traces", media_type, time.perf_counter() - started, accepted=verdict.accepted, duplicates=verdict.duplicates,
        rejected=verdict.rejected,
    )  # fmt: skip
    return Response(answer, media_type=media_type)


def _stored(
    site: Site, body: bytes, media_type: str, encoding: str, models: frozenset[str] | None
) -> tuple["SpanVerdict", bytes]:
    from monitor.ingest.otlp.answer import response  # loads protobuf, and polars with the mapping
    from monitor.ingest.otlp.receive import receive_traces

    verdict = receive_traces(site, body, media_type, encoding, models)
    return verdict, response(verdict.rejected, verdict.message, media_type)


@router.get("/api/v1/unmapped-services")
def unmapped_services(_: Reader, site: SiteDep, db: ReadDb) -> list[UnmappedServiceOut]:
    """Services whose spans no model takes, with the names and types of their attributes; the newest first."""
    rows = store.unmapped_services(db)
    found = [UnmappedServiceOut.of(row) for row in rows]
    return [
        out.model_copy(update={"spans": span_counts.unmapped_spans(site, row)})
        for out, row in zip(found, rows, strict=True)
    ]


@router.get("/api/v1/span-counts")
def span_count_rows(_: Reader, site: SiteDep, db: ReadDb) -> list[SpanCountOut]:
    """What became of the spans of each service that a model maps; a process adds its newest within two seconds."""
    found = span_counts.counts(site, db).items()
    return [SpanCountOut(service=service, result=result, spans=spans) for (service, result), spans in found]

"""OpenTelemetry: spans coming in over OTLP/HTTP, and the services whose spans no model takes."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from api.http.auth import requires
from api.http.deps import Out, ReadDb, check_kind, content_encoding, declared_size, drain, media_type, read_body
from api.http.direct import DirectRoute
from api.http.intake import Intake, OverloadedError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.ingest.media import ENCODINGS, TRACE_TYPES
from monitor.site import Site

router = APIRouter(tags=["traces"])
ingest_router = APIRouter(tags=["traces"], route_class=DirectRoute)
SPANS: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {kind: {"schema": {}} for kind in TRACE_TYPES}}
}
Writer = Annotated[Caller, requires(Permission.EVENTS_WRITE)]
Reader = Annotated[Caller, requires(Permission.READ)]


class UnmappedServiceOut(Out):
    service: str
    spans: int
    first_at: datetime
    last_at: datetime
    sample: dict[str, Any]


@ingest_router.post("/v1/traces", openapi_extra=SPANS)
async def take_traces(_: Writer, request: Request) -> Response:
    """Store the spans that models' `traces` mappings select: OTLP/HTTP, protobuf or JSON; durable when answered."""
    check_kind(request, TRACE_TYPES, ENCODINGS)
    intake: Intake = request.app.state.intake
    site: Site = request.app.state.site
    limit_mb, form, coding = site.settings.server.max_body_mb, media_type(request), content_encoding(request)
    try:
        with intake.room(declared_size(request, limit_mb)):
            body = await read_body(request, limit_mb)
            answer = await intake.run(lambda: _stored(site, body, form, coding))
    except OverloadedError:
        await drain(request, limit_mb)
        raise
    return Response(answer, media_type=form)


def _stored(site: Site, body: bytes, form: str, coding: str) -> bytes:
    from monitor.ingest.otlp.answer import response  # loads protobuf, and polars with the mapping
    from monitor.ingest.otlp.receive import receive_traces

    verdict = receive_traces(site, body, form, coding)
    return response(verdict.rejected, verdict.message, form)


@router.get("/api/v1/unmapped-services")
def unmapped_services(_: Reader, db: ReadDb) -> list[UnmappedServiceOut]:
    """Services whose spans no model takes, with the names and types of their attributes; the newest first."""
    return [UnmappedServiceOut.of(row) for row in store.unmapped_services(db)]

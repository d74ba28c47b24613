"""Route that receives log records over OTLP/HTTP: those that hold the texts of spans."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from api.http.auth import requires
from api.http.deps import form_of
from api.http.direct import DirectRoute
from api.http.intake import Intake, read_rows
from api.http.metrics import ServiceMetrics
from api.http.reach import Reach
from governance.access.roles import Caller, Permission
from monitor.ingest.media import ENCODINGS, OTLP_TYPES
from monitor.site import Site

if TYPE_CHECKING:
    from monitor.ingest.otlp.receive_logs import LogVerdict

ingest_router = APIRouter(tags=["traces"], route_class=DirectRoute)
LOG_BODIES: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {kind: {"schema": {}} for kind in OTLP_TYPES}},
    "responses": {"200": {"content": {kind: {"schema": {}} for kind in OTLP_TYPES}}},
}
Writer = Annotated[Caller, requires(Permission.EVENTS_WRITE, Reach.LISTED)]


@ingest_router.post("/v1/logs", openapi_extra=LOG_BODIES)
async def take_logs(caller: Writer, request: Request) -> Response:
    """Join the texts of model calls that come as log records to their spans: OTLP/HTTP; durable when answered."""
    media_type, encoding = form_of(request, OTLP_TYPES, ENCODINGS)
    intake: Intake = request.app.state.intake
    site: Site = request.app.state.site
    limit_mb = site.settings.server.max_body_mb
    body = await read_rows(request, intake, limit_mb)
    started = time.perf_counter()
    verdict, answer = await intake.run(lambda: _stored(site, body, media_type, encoding, caller.models))
    metrics: ServiceMetrics = request.app.state.metrics
    metrics.stored(
        "logs", media_type, time.perf_counter() - started, accepted=verdict.accepted, duplicates=0,
        rejected=verdict.rejected, skipped=verdict.skipped,
    )  # fmt: skip
    return Response(answer, media_type=media_type)


def _stored(
    site: Site, body: bytes, media_type: str, encoding: str, models: frozenset[str] | None
) -> tuple["LogVerdict", bytes]:
    from monitor.ingest.otlp.answer import log_response  # loads protobuf, and polars with the mapping
    from monitor.ingest.otlp.receive_logs import receive_logs

    verdict = receive_logs(site, body, media_type, encoding, models)
    return verdict, log_response(verdict.rejected, verdict.message, media_type)

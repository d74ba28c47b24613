"""Routes for liveness, readiness, metrics and the OpenAPI document."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from api.http.auth import requires
from api.http.deps import Out, ReadDb, SiteDep
from api.http.metrics import MEDIA_TYPE, ServiceMetrics
from api.http.reach import Reach
from api.processes import anchor_watch, ledger_watch, system_alarms
from core.errors import BusyError
from governance.access.roles import Caller, Permission

router = APIRouter(tags=["service"])


class NotReadyError(BusyError):
    code = "not_ready"


@router.get("/healthz")
def alive() -> dict[str, str]:
    return {"status": "ok"}


class ReadyOut(Out):
    """`degraded`: requests are answered, and something in the background does not work, which `problems` names."""

    status: Literal["ready", "degraded"]
    problems: list[str] | None = None


@router.get("/readyz", response_model_exclude_none=True)
def ready(site: SiteDep, db: ReadDb) -> ReadyOut:
    """Whether requests are answered; without a key, so it names no model."""
    problems = [
        *ledger_watch.problems(db),
        *anchor_watch.problems(site, db),
        *system_alarms.problems(db, site.clock.now()),
    ]
    try:
        site.events.check_writable()
    except OSError as error:
        raise NotReadyError(f"the lake cannot be written: {error.strerror}", retry_after_s=5) from error
    return ReadyOut(status="degraded", problems=problems) if problems else ReadyOut(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
def measure(_: Annotated[Caller, requires(Permission.READ, Reach.ALL)], request: Request) -> Response:
    metrics: ServiceMetrics = request.app.state.metrics
    return Response(metrics.text(), media_type=MEDIA_TYPE)


@router.get("/api/v1/openapi.json")
def openapi(
    _: Annotated[Caller, requires(Permission.CHAMPION_READ, Reach.SERVICE)], request: Request
) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document

"""Routes for liveness, readiness, metrics and the OpenAPI document."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.metrics import MEDIA_TYPE, ServiceMetrics
from core.errors import BusyError
from governance.access.roles import Caller, Permission

router = APIRouter(tags=["service"])


class NotReadyError(BusyError):
    code = "not_ready"


@router.get("/healthz")
def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
def ready(site: SiteDep, db: ReadDb) -> dict[str, str]:
    db.execute(text("select 1"))
    try:
        site.events.check_writable()
    except OSError as error:
        raise NotReadyError(f"the lake cannot be written: {error.strerror}", retry_after_s=5) from error
    return {"status": "ready"}


@router.get("/metrics")
def measure(_: Annotated[Caller, requires(Permission.READ)], request: Request) -> Response:
    metrics: ServiceMetrics = request.app.state.metrics
    return Response(metrics.text(), media_type=MEDIA_TYPE)


@router.get("/api/v1/openapi.json")
def openapi(_: Annotated[Caller, requires(Permission.CHAMPION_READ)], request: Request) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document

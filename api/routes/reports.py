"""Routes for reports: request one, read its state, download its files."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, ReadDb, SiteDep
from governance.access.roles import Caller, Permission
from reports import store
from reports.errors import ReportNotReadyError

router = APIRouter(prefix="/api/v1", tags=["reports"])
Reader = Annotated[Caller, requires(Permission.READ)]
TYPES: Final = {"pdf": "application/pdf", "json": "application/json", "zip": "application/zip"}


class ReportIn(In):
    kind: str = "audit"
    from_: Moment = Field(alias="from")
    to: Moment
    regimes: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field((), max_length=20)


class ReportOut(Out):
    id: UUID
    kind: str
    period_from: datetime
    period_to: datetime
    regimes: list[Any]
    state: str
    files: dict[str, Any] | None
    error: str | None
    requested_by: str
    created_at: datetime
    finished_at: datetime | None


@router.post("/models/{model}/reports", status_code=202)
def request_report(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], model: str, body: ReportIn, site: SiteDep, db: Db
) -> ReportOut:
    from reports import service

    return ReportOut.of(
        service.request(site, db, model, body.kind, body.from_, body.to, list(body.regimes), caller.name)
    )


@router.get(
    "/reports/{report_id:uuid}.{kind}",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in TYPES.values()}}, 409: {}},
)
def download(_: Reader, report_id: UUID, kind: Literal["pdf", "json", "zip"], site: SiteDep, db: ReadDb) -> Response:
    report = store.report(db, report_id)
    if not report.files or kind not in report.files:
        raise ReportNotReadyError(report_id, report.state, report.error)
    headers = {
        "Content-Disposition": f'attachment; filename="{report.kind}-{report_id}.{kind}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(site.artifacts.get(report.files[kind]), media_type=TYPES[kind], headers=headers)


@router.get("/reports/{report_id:uuid}")
def read(_: Reader, report_id: UUID, db: ReadDb) -> ReportOut:
    return ReportOut.of(store.report(db, report_id))

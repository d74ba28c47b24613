"""Routes for reports: request one, list them, read their state, download and send their files."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.http.auth import requires
from api.http.deps import DayOrTime, Db, In, Out, Page, ReadDb, SiteDep
from api.http.downloads import answered
from api.http.reach import Reach, seen_ids
from core.canonical import sha256
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from monitor.notify import outbox
from monitor.notify.tables import OutboxMessage
from reports import service, store
from reports.deliveries import FACES, deliver, faces_of, file_name, thread_of
from reports.errors import FaceNotFoundError, ReportNotReadyError
from reports.file_names import safe_name
from reports.kinds import kind_named
from reports.periods import asked_period
from reports.pulls import record_pull
from reports.render.csv_face import one_table
from reports.tables import Report

router = APIRouter(prefix="/api/v1", tags=["reports"])
Reader = Annotated[Caller, requires(Permission.READ)]
Creator = Annotated[Caller, requires(Permission.REPORT_CREATE)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[tuple[Name, ...], Field(max_length=20)]
Face = Literal["pdf", "html", "csv", "json", "zip"]
State = Literal["queued", "ready", "failed"]


class ReportIn(In):
    kind: str = Field("audit", max_length=32)
    subject: str | None = Field(
        None, max_length=256, description="of a kind about one thing: id of the run, incident or erasure, or version"
    )
    from_: DayOrTime | None = Field(
        None, alias="from", description="a day, which begins in the zone, or a time with its own zone"
    )
    to: DayOrTime | None = Field(None, description="the last day, which is inside, or the time of the end")
    period: str | None = Field(
        None, max_length=60, description="in place of both: 2026-Q3, 2026-09, 2026, last-quarter, last-month, ..."
    )
    zone: str = Field("UTC", max_length=64, description="time zone in which days begin, such as Europe/Berlin")
    regimes: Names = Field((), description="ids of regime packs, as `GET /api/v1/regimes` lists them")
    deliver_to: Names = Field((), description="channels that are sent the report once it is ready")


class ReportOut(Out):
    id: UUID
    kind: str
    subject: str | None
    period_from: datetime
    period_to: datetime
    zone: str | None
    regimes: list[Any]
    state: str
    files: dict[str, Any] | None
    error: str | None
    requested_by: str
    created_at: datetime
    finished_at: datetime | None
    schedule_id: UUID | None
    missed: int | None
    model: str | None = None
    file_names: dict[str, str] = Field(default_factory=dict, description="by face: what a download is called")

    @classmethod
    def told(cls, row: Report, model: str) -> "ReportOut":
        names = {face: file_name(row, model, face) for face in faces_of(row)}
        return cls.of(row).model_copy(update={"model": model, "file_names": names})


class DeliveryIn(In):
    to: Names = Field(min_length=1, description="names of channels, as `GET /api/v1/channels` lists them")


class DeliveryOut(Out):
    """One message to one channel; `sent` means that the channel took the report."""

    id: UUID
    channel: str
    state: str
    reason: str | None
    attempts: int
    created_at: datetime
    ended_at: datetime | None


@router.post("/models/{model}/reports", status_code=202)
def request_report(caller: Creator, model: str, body: ReportIn, site: SiteDep, db: Db) -> ReportOut:
    """Without a period, the last 30 days; a kind about one thing covers the time of that thing."""
    given = [n for n, v in (("from", body.from_), ("to", body.to), ("period", body.period)) if v is not None]
    if given and body.subject is not None and kind_named(body.kind).find is not None:
        raise InvalidError(
            f"{given[0]}: a report of kind {body.kind} covers the time of its subject; leave out {' and '.join(given)}",
            field=given[0],
        )
    asked = asked_period(site.clock.now(), start=body.from_, end=body.to, name=body.period, zone=body.zone)
    row = service.request(
        site, db, model, body.kind, asked.start, asked.end, list(body.regimes), caller.name, zone=asked.zone,
        deliver_to=body.deliver_to, subject=body.subject,
    )  # fmt: skip
    return ReportOut.told(row, model)


@router.get("/reports")
def list_reports(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], db: ReadDb, model: str | None = None,
    kind: Annotated[str | None, Query(max_length=32)] = None, state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100, cursor: Annotated[int, Query(ge=0, le=10**6)] = 0,
) -> Page[ReportOut]:  # fmt: skip
    """The newest first; those of models outside the caller's scope are left out."""
    found = store.listed_reports(
        db, models=seen_ids(db, caller, model), kind=kind, state=state, limit=limit + 1, offset=cursor
    )
    more = str(cursor + limit) if len(found) > limit else None
    return Page[ReportOut].of([ReportOut.told(row, name) for row, name in found[:limit]], next=more)


@router.get(
    "/reports/{report_id:uuid}.{face}", response_class=Response,
    responses={200: {"content": {kind.partition(";")[0]: {} for kind in FACES.values()}}, 304: {}, 409: {}},
)  # fmt: skip
def download(
    caller: Reader, report_id: UUID, face: Face, site: SiteDep, request: Request,
    table: Annotated[str | None, Query(max_length=200, description="of a CSV: the one list to give")] = None,
) -> Response:  # fmt: skip
    """One face of a report. Each pull is an entry of the ledger; one that is answered 304 hands nothing out."""
    with site.database.read() as db:  # closed before the pull is written: on SQLite a reader keeps no writer waiting
        row = store.report(db, report_id)
        model = store.model_of(db, row.model_id).name
    digest = faces_of(row).get(face)
    if digest is None and row.state == "ready":
        raise FaceNotFoundError(report_id, face, list(faces_of(row)))
    if digest is None:
        raise ReportNotReadyError(report_id, row.state, row.error)
    name, content = file_name(row, model, face), partial(site.artifacts.get, digest)
    if face == "csv" and table is not None:
        part = one_table(content(), table)
        name, digest, content = (
            f"{name.removesuffix('.csv')}-{safe_name(table)}.csv",
            sha256(part),
            partial(bytes, part),
        )
    return answered(
        request, name=name, digest=digest, media_type=FACES[face], content=content,
        before=lambda: record_pull(site, caller, row, model, name=name, digest=digest),
    )  # fmt: skip


@router.post("/reports/{report_id:uuid}/retry", status_code=202)
def retry_report(caller: Creator, report_id: UUID, site: SiteDep, db: Db) -> ReportOut:
    """Build a report again that failed, or make the PDF of one that lacks it; faces that there are stay as they are."""
    row = service.retry(site, db, report_id)
    return ReportOut.told(row, store.model_of(db, row.model_id).name)


@router.post("/reports/{report_id:uuid}/deliveries", status_code=202)
def deliver_report(caller: Creator, report_id: UUID, body: DeliveryIn, site: SiteDep, db: Db) -> Page[DeliveryOut]:
    """Send a report to channels; each is tried as notifications are."""
    row = store.report(db, report_id)
    deliver(site, db, row, body.to, caller.name)
    db.flush()
    return Page[DeliveryOut].of(_deliveries(db, row))


@router.get("/reports/{report_id:uuid}/deliveries")
def list_deliveries(_: Reader, report_id: UUID, db: ReadDb) -> Page[DeliveryOut]:
    """The messages of the last 30 days; what arrived is in the ledger for good."""
    return Page[DeliveryOut].of(_deliveries(db, store.report(db, report_id)))


def _deliveries(db: Any, row: Report) -> Sequence[OutboxMessage]:
    return outbox.of_thread(db, thread_of(row))


@router.get("/reports/{report_id:uuid}")
def read(_: Reader, report_id: UUID, db: ReadDb) -> ReportOut:
    row = store.report(db, report_id)
    return ReportOut.told(row, store.model_of(db, row.model_id).name)

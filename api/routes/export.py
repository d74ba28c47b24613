"""Route that exports rows: streamed, in order of arrival, resumable."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, Moment, ReadDb, SiteDep
from api.http.protected import columns_for, withheld_header
from api.http.shares import in_turns
from governance.access.roles import Caller, Permission
from monitor.upkeep import export
from monitor.upkeep.export import Form, Kind
from monitor.upkeep.protected import counted, record_read

router = APIRouter(prefix="/api/v1/models/{model}", tags=["events"])


class ExportQuery(In):
    from_: Moment | None = Field(None, alias="from", description="first event time, with zone")
    to: Moment | None = Field(None, description="event time before which rows are exported, with zone")
    kind: Kind = "events"
    format: Form = "ndjson"
    cursor: str | None = Field(None, description="X-Assay-Version of the first answer, a colon, the last seq received")
    limit: int | None = Field(None, ge=1, le=2**53, description="rows, at most")


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {} for kind in export.MEDIA_TYPES.values()}}, 409: {}},
)
def export_events(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ)],
    model: str,
    query: Annotated[ExportQuery, Query()],
    request: Request,
    site: SiteDep,
    db: ReadDb,
) -> StreamingResponse:
    """Events or outcomes of a period as NDJSON, Arrow IPC stream or Parquet; a subject is its digest.

    Protected columns are left out, and named in X-Assay-Withheld, unless the caller may read them; that is recorded.
    """
    _, protected, may = columns_for(site, db, caller, model)
    read: list[int] = []
    found = export.export(
        site, model, kind=query.kind, form=query.format, from_ts=query.from_, to_ts=query.to, cursor=query.cursor,
        limit=query.limit, without=frozenset() if may else protected, rows=read,
    )  # fmt: skip
    headers, body = {"X-Assay-Version": str(found.version)}, found.body
    if query.kind == "events" and protected and may:
        record_read(site, caller, model, protected, "export", count=None, since=query.from_, until=query.to)
        body = counted(body, site, caller, model, protected, read, (query.from_, query.to))
    elif query.kind == "events":
        headers |= withheld_header(protected)
    return StreamingResponse(in_turns(request, body), media_type=found.media_type, headers=headers)

"""Route that exports rows: streamed, in order of arrival, resumable."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, Moment, ReadDb, SiteDep
from api.http.event_filters import Searched, asked_for, searched
from api.http.protected import withheld_header
from api.http.shares import in_turns
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from monitor.explore.filters import OPERATORS, Answer, Outcome
from monitor.explore.matching import Matching
from monitor.site import Site
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
    where: list[str] = Field(
        [], description="conditions that every event fits, each column:operator:value, such as amount:ge:100; "
        "operators are " + ", ".join(OPERATORS),
    )  # fmt: skip
    outcome: Outcome | None = Field(None, description="only events whose outcome is known, or unknown")
    answer: Answer | None = Field(None, description="only answers of a classification that are right, or wrong")


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
    `where`, `outcome` and `answer` filter events. A CSV begins no cell as a formula.
    """
    of = searched(site, db, caller, model)
    protected, may = of.protected, of.may
    matching = _filtered(site, of, query)
    read: list[int] = []
    found = export.export(
        site, model, kind=query.kind, form=query.format, from_ts=query.from_, to_ts=query.to, cursor=query.cursor,
        limit=query.limit, without=of.withheld, rows=read, matching=matching,
    )  # fmt: skip
    headers, body = {"X-Assay-Version": str(found.version)}, found.body
    if query.format == "csv":
        headers["Content-Disposition"] = f'attachment; filename="{model}-{query.kind}.csv"'
    if query.kind == "events" and protected and may:
        record_read(site, caller, model, protected, "export", count=None, since=query.from_, until=query.to)
        body = counted(body, site, caller, model, protected, read, (query.from_, query.to))
    elif query.kind == "events":
        headers |= withheld_header(protected)
    return StreamingResponse(in_turns(request, body), media_type=found.media_type, headers=headers)


def _filtered(site: Site, of: Searched, query: ExportQuery) -> Matching | None:
    if not query.where and query.outcome is None and query.answer is None:
        return None
    if query.kind != "events":
        raise InvalidError(
            "where, outcome and answer filter events; leave them out, or write kind=events", field="kind",
            value=query.kind,
        )  # fmt: skip
    return asked_for(
        site, of, query.where, outcome=query.outcome, answer=query.answer, from_ts=query.from_, to_ts=query.to
    )

"""Routes for rejected rows: list, check again under the current spec, correct, discard."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from api.http.auth import requires
from api.http.deps import In, Moment, Out, Page, ReadDb, SiteDep
from api.http.protected import quarantined_for, released_for
from core.clock import check_period
from governance.access.roles import Caller, Permission
from monitor.ingest import release

router = APIRouter(prefix="/api/v1/models/{model}/quarantine", tags=["quarantine"])
Reader = Annotated[Caller, requires(Permission.EVENTS_READ)]
Writer = Annotated[Caller, requires(Permission.QUARANTINE_WRITE)]


class QuarantineQuery(In):
    from_: Moment | None = Field(None, alias="from", description="arrived at or after")
    to: Moment | None = Field(None, description="arrived before")
    field: str | None = None
    state: Literal["open", "released", "fixed", "discarded"] | None = None
    cursor: int | None = Field(None, ge=0, le=2**53, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=1000)


class KeptOut(Out):
    id: str
    event_id: str | None
    ts: datetime
    kind: str
    line: int
    field: str | None
    reason: str
    raw: str
    body_digest: str | None
    state: str
    decided_by: str | None
    decided_at: datetime | None


class ReplayIn(In):
    ids: list[str] | None = Field(None, min_length=1, max_length=10_000)
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> "ReplayIn":
        if (self.ids is None) == (self.all is None):
            raise ValueError('give exactly one of {"ids": [...]} and {"all": true}')
        return self


class StillRejectedOut(Out):
    id: str
    field: str | None
    reason: str


class ReleasedOut(Out):
    released: int
    accepted: int
    duplicates: int
    rejected: list[StillRejectedOut]
    rejected_total: int


@router.get("")
def list_rows(
    caller: Reader, model: str, query: Annotated[QuarantineQuery, Query()], site: SiteDep, db: ReadDb
) -> Page[KeptOut]:
    """Rejected rows in the order they arrived, personal data replaced.

    What may be a protected value is withheld unless the caller may read them; that is recorded.
    """
    check_period(query.from_, query.to)
    rows = release.quarantined_rows(
        site, model, since=query.from_, until=query.to, field=query.field, state=query.state,
        after=-1 if query.cursor is None else query.cursor, limit=query.limit,
    )  # fmt: skip
    shown = quarantined_for(site, db, caller, model, rows)
    return Page[KeptOut].of(shown, str(rows[-1].seq) if len(rows) == query.limit else None)


@router.post("/replay")
def replay(caller: Writer, model: str, body: ReplayIn, site: SiteDep, db: ReadDb) -> ReleasedOut:
    """Check rows again under the current spec; those that pass are stored and released."""
    found = release.replay(site, model, body.ids, actor=caller.name)
    return ReleasedOut.of(released_for(site, db, caller, model, found))


@router.post("/{row}/fix")
def fix(caller: Writer, model: str, row: str, body: dict[str, Any], site: SiteDep) -> ReleasedOut:
    """Store a corrected row in place of the rejected one."""
    return ReleasedOut.of(release.fix(site, model, row, body, actor=caller.name))


@router.post("/{row}/discard", status_code=204)
def discard(caller: Writer, model: str, row: str, site: SiteDep) -> None:
    """Discard a row for good."""
    release.discard(site, model, row, actor=caller.name)

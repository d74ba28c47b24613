"""Routes for legal holds: what retention and erasure must leave."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from api.routes.versions import ReasonIn
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from governance.policy import holds
from monitor import store

router = APIRouter(prefix="/api/v1/holds", tags=["governance"])
Holder = Annotated[Caller, requires(Permission.HOLD, Reach.LISTED)]


class HoldIn(In):
    model: str
    begin: Moment | None = Field(None, alias="from", description="first time of events that are kept; open without it")
    end: Moment | None = Field(None, alias="to", description="last time of events that are kept; open without it")
    subject: str | None = Field(
        None, min_length=1, max_length=1000, description="as it was sent in events; never stored in clear"
    )
    reason: str = Field(min_length=1, max_length=1000, description="kept in the ledger; no personal data")


class HoldOut(Out):
    id: int = Field(description="index of the ledger entry that added it")
    model: str
    begin: datetime | None = Field(serialization_alias="from")
    end: datetime | None = Field(serialization_alias="to")
    subject: str | None = Field(description="keyed digest, as events carry it; null keeps everybody's rows")
    reason: str
    added_at: datetime
    added_by: str
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None


@router.post("", status_code=201)
def add(caller: Holder, body: HoldIn, site: SiteDep, db: Db) -> HoldOut:
    """Keep rows of a model against retention and erasure until the hold is released."""
    require_model(caller, body.model, f"model {body.model[:100]!r}")
    model = store.model(db, body.model).name
    subject = None if body.subject is None else site.events.subject_digest(body.subject)
    return HoldOut.of(
        holds.add_hold(
            db, model, begin=body.begin, end=body.end, subject=subject, reason=body.reason, actor=caller.name,
            now=site.clock.now(),
        )
    )  # fmt: skip


@router.get("")
def list_holds(caller: Annotated[Caller, requires(Permission.EVENTS_READ, Reach.LISTED)], db: ReadDb) -> Page[HoldOut]:
    """Oldest first, released ones too."""
    return Page[HoldOut].of(hold for hold in holds.holds(db) if caller.sees(hold.model))


@router.post("/{hold}/release")
def release(caller: Holder, hold: int, body: ReasonIn, site: SiteDep, db: Db) -> HoldOut:
    """Release a hold: retention and erasure go on."""
    found = holds.hold_of(db, hold)
    require_model(caller, found.model, f"legal hold {hold}")
    return HoldOut.of(holds.release_hold(db, found, reason=body.reason, actor=caller.name, now=site.clock.now()))

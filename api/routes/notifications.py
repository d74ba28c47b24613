"""Routes for notifications: channels and their test, the outbox, and sending a dead message again."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter

from api.http.auth import requires
from api.http.deps import Db, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach, message_models
from governance.access.roles import Caller, Permission
from monitor.notify import deliver, outbox
from monitor.notify.channels import channels

router = APIRouter(prefix="/api/v1", tags=["notifications"])
Reader = Annotated[Caller, requires(Permission.READ, Reach.ALL)]
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE, Reach.ALL)]
SEARCHED = 2000  # messages among which those of a few models are looked for
OutboxState = Literal["waiting", "sending", "retrying", "held", "sent", "dead", "quiet"]


class RouteOut(Out):
    severity: str
    models: tuple[str, ...]
    owners: tuple[str, ...]
    hours: str | None
    days: str | None
    zone: str
    digest: str


class ChannelOut(Out):
    """A channel without its URL, which is secret. `host` is null where the URL has a token in its place."""

    name: str
    scheme: str
    host: str | None
    route: RouteOut
    messages: dict[str, int]  # by state
    last_sent_at: datetime | None


class TestOut(Out):
    channel: str
    delivered: bool
    reason: str


class MessageOut(Out):
    id: UUID
    channel: str
    thread: str
    severity: str
    items: list[dict[str, Any]]
    follows: UUID | None
    state: str
    reason: str | None
    attempts: int
    run_at: datetime
    created_at: datetime
    ended_at: datetime | None


@router.get("/channels")
def list_channels(_: Reader, site: SiteDep, db: ReadDb) -> Page[ChannelOut]:
    found = outbox.backlogs(site, db)
    return Page[ChannelOut].of(
        ChannelOut(
            name=c.name, scheme=c.scheme, host=c.host, route=RouteOut.of(c.route), messages=found[c.name].by_state,
            last_sent_at=found[c.name].last_sent_at,
        )
        for c in channels(site.settings).values()
    )  # fmt: skip


@router.post("/channels/{name}/test")
def test_channel(caller: Worker, name: str, site: SiteDep) -> TestOut:
    """Send a test at once; the answer says whether the receiver took it."""
    outcome = deliver.send_test(site, name, caller.name)
    return TestOut(channel=name, delivered=outcome.delivered, reason=outcome.reason)


@router.get("/outbox")
def list_messages(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], db: ReadDb, state: OutboxState | None = None
) -> Page[MessageOut]:
    """The newest 200 messages; those about a model outside the caller's scope are left out."""
    if caller.models is None:
        return Page[MessageOut].of(outbox.listed(db, state=state))
    found = outbox.listed(db, state=state, limit=SEARCHED)
    return Page[MessageOut].of([m for m in found if all(map(caller.sees, message_models(m)))][:200])


@router.post("/outbox/{message_id}/retry")
def retry_message(
    _: Annotated[Caller, requires(Permission.ALERT_WRITE)], message_id: UUID, site: SiteDep, db: Db
) -> MessageOut:
    """Send a dead message again."""
    return MessageOut.of(outbox.retry(site, db, message_id))

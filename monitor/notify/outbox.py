"""The outbox: messages are written in the transaction of what they tell, and sent at least once.

A message waits a moment for others about the same thing, then goes out. The next one of the same thread and channel
gathers what happens during the cool-down, unless it is worse, the first alert of a KPI, or the end. A try that fails
is repeated with growing pauses; after the last one the message is dead, which is an alert of the installation.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from core.db import insert_if_new
from core.errors import ConflictError, NotFoundError
from core.logs import logger
from monitor.notify import maintenance, routing
from monitor.notify.announcement import SEVERITY_RANK, Announcement, most_severe
from monitor.notify.channels import Channel, channels
from monitor.notify.describe import moment
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.notify import Notify
from monitor.tables import Window

LONGEST_PAUSE: Final = timedelta(hours=1)  # between two tries
KEPT: Final = timedelta(days=30)  # after a message was sent or has died
TOLD: Final = ("waiting", "sending", "retrying", "sent")
AT_ONCE: Final = ("resolved", "withdrawn", "worse", "test", "report")
COSTS: Final = ("kpi", "estimate")  # monitors whose alert means that a KPI fell through its limit
DIGEST: Final = "digest"
log = logger("monitor.notify.outbox")


class MessageNotFoundError(NotFoundError):
    code = "message_not_found"


class MessageStateError(ConflictError):
    code = "message_state"


def add(site: Site, db: Session, channel: Channel, item: Announcement, notify: Notify | None = None) -> None:
    """Write an announcement into the message to a channel, in the caller's transaction."""
    now = site.clock.now()
    if (quiet := _kept_quiet(db, item, now)) is not None:
        state, reason, until = quiet
        db.add(_message(channel, item, state, until, now, reason=reason))
        return
    digest = channel.route.digest != "off" and item.report is None
    thread = DIGEST if digest else item.thread
    previous = _previous(db, channel.name, thread)
    if digest:
        run_at = routing.next_digest(channel.route, site.settings.notify.digest_hour, now)
    else:
        run_at = routing.next_open(channel.route, _earliest(site, item, previous, notify))
        if previous is not None and previous.state == "retrying":  # it goes first, so it does not wait longer
            previous.run_at = min(previous.run_at, run_at)
    fresh = _message(channel, item, "waiting", run_at, now, thread=thread, follows=previous.id if previous else None)
    found = _waiting(db, fresh)
    if found.id != fresh.id:
        found.items = [*found.items, item.model_dump(mode="json")]
        found.severity = most_severe(found.severity, item.severity)
        found.run_at = min(found.run_at, run_at)


def _waiting(db: Session, fresh: OutboxMessage) -> OutboxMessage:
    """The locked message of the thread that waits already, or else the fresh one, stored."""
    values = {c.key: getattr(fresh, c.key) for c in OutboxMessage.__table__.columns}
    waiting = select(OutboxMessage).where(
        OutboxMessage.channel == fresh.channel, OutboxMessage.thread == fresh.thread, OutboxMessage.state == "waiting"
    )
    locked = waiting.with_for_update().execution_options(populate_existing=True)
    while True:
        insert_if_new(db, OutboxMessage, values)
        if (found := db.scalars(locked).first()) is not None:
            return found  # None: the one that waited was claimed at this moment


def _message(
    channel: Channel, item: Announcement, state: str, run_at: datetime, now: datetime, *, thread: str | None = None,
    follows: UUID | None = None, reason: str | None = None,
) -> OutboxMessage:  # fmt: skip
    return OutboxMessage(
        id=uuid4(), channel=channel.name, thread=thread or item.thread, severity=item.severity,
        items=[item.model_dump(mode="json")], follows=follows, state=state, reason=reason, attempts=0, run_at=run_at,
        lease_until=None, worker=None, created_at=now, ended_at=now if state == "quiet" else None,
    )  # fmt: skip


def _kept_quiet(db: Session, item: Announcement, now: datetime) -> tuple[str, str, datetime] | None:
    """How maintenance keeps an announcement quiet: state, reason and until when."""
    if item.model_id is None or item.occasion in ("resolved", "withdrawn"):
        return None
    if (row := maintenance.at(db, item.model_id, now)) is not None:
        return "held", f"maintenance until {moment(row.to_ts)}: {row.reason}", row.to_ts
    window = db.get(Window, item.window_id) if item.window_id is not None else None
    if window is not None and (row := maintenance.around(db, item.model_id, window.from_ts, window.to_ts)) is not None:
        return "quiet", f"its window lay in the maintenance until {moment(row.to_ts)}: {row.reason}", now
    return None


def _previous(db: Session, channel: str, thread: str) -> OutboxMessage | None:
    """The newest message of a thread that was sent to a channel, or is about to be."""
    query = select(OutboxMessage).where(
        OutboxMessage.channel == channel, OutboxMessage.thread == thread,
        OutboxMessage.state.in_(("sending", "retrying", "sent")),
    )  # fmt: skip
    return db.scalars(query.order_by(OutboxMessage.created_at.desc()).limit(1)).first()


def _earliest(site: Site, item: Announcement, previous: OutboxMessage | None, notify: Notify | None) -> datetime:
    """When an announcement may go out: soon, or after the cool-down of the message before it."""
    soon = site.clock.now() + timedelta(seconds=site.settings.notify.gather_s)
    if previous is None or item.occasion in AT_ONCE:
        return soon
    if item.occasion == "opened" and item.monitor in COSTS:  # what goes on has begun to cost: it is worse
        return soon
    if SEVERITY_RANK[item.severity] > SEVERITY_RANK[previous.severity]:
        return soon
    own = duration(notify.cooldown) if notify is not None and notify.cooldown is not None else None
    pause = own if own is not None else timedelta(seconds=site.settings.notify.cooldown_s)
    # The clock may have been set back since.
    return max(soon, min(previous.ended_at or previous.run_at, site.clock.now()) + pause)


def told(db: Session, thread: str) -> set[str]:
    """The channels that were told, or are about to be told, about a thread, digests aside."""
    query = select(OutboxMessage.channel).where(OutboxMessage.thread == thread, OutboxMessage.state.in_(TOLD))
    return set(db.scalars(query.distinct()))


def is_due(db: Session, channel: str, now: datetime) -> bool:
    """Whether `claim` would find something; takes no lock."""
    return db.scalar(select(OutboxMessage.id).where(_runnable(channel, now)).limit(1)) is not None


def claim(db: Session, channel: str, *, worker: str, now: datetime, lease_s: float) -> OutboxMessage | None:
    """Take the message that has been due longest; one whose sender vanished is taken over once its lease has ended."""
    query = select(OutboxMessage).where(_runnable(channel, now)).order_by(OutboxMessage.run_at).limit(1)
    found = db.scalars(query.with_for_update(skip_locked=True)).first()
    if found is not None:
        found.state, found.worker, found.attempts = "sending", worker, found.attempts + 1
        found.lease_until = now + timedelta(seconds=lease_s)
    return found


def _runnable(channel: str, now: datetime) -> ColumnElement[bool]:
    """Due messages. A follow-up waits until what it follows is sent or dead."""
    before = aliased(OutboxMessage)
    follows = exists().where(
        before.channel == OutboxMessage.channel, before.thread == OutboxMessage.thread,
        before.id == OutboxMessage.follows, before.state.in_(("sending", "retrying")),
    )  # fmt: skip
    due = and_(OutboxMessage.state.in_(("waiting", "retrying")), OutboxMessage.run_at <= now, ~follows)
    lost = and_(OutboxMessage.state == "sending", OutboxMessage.lease_until < now)
    return and_(OutboxMessage.channel == channel, or_(due, lost))


def delivered(db: Session, message_id: UUID, *, worker: str, now: datetime) -> None:
    _end(db, message_id, worker, state="sent", ended_at=now, reason=None)


def failed(
    site: Site, db: Session, message: OutboxMessage, reason: str, retry_after_s: int | None
) -> OutboxMessage | None:
    """Record a try that failed: the next one waits longer. After the last one the message is dead, and returned.

    Args:
        message: as `claim` returned it.
    """
    now = site.clock.now()
    assert message.worker is not None  # it was claimed
    if message.attempts < site.settings.notify.attempts:
        run_at = now + max(_pause(site, message), timedelta(seconds=retry_after_s or 0))
        _end(db, message.id, message.worker, state="retrying", run_at=run_at, reason=reason)
        return None
    reason = f"{message.attempts} tries, the last one: {reason}"
    if not _end(db, message.id, message.worker, state="dead", ended_at=now, reason=reason):
        return None
    log.error("message is undeliverable", channel=message.channel, message=str(message.id), reason=reason)
    return db.get_one(OutboxMessage, message.id, populate_existing=True)


def _pause(site: Site, message: OutboxMessage) -> timedelta:
    """Doubled with each try, and spread, so that many messages do not come back at once."""
    seconds = site.settings.notify.backoff_s * 2 ** min(message.attempts - 1, 30)
    spread = random.Random(f"{message.id}:{message.attempts}").uniform(0.75, 1.25)  # noqa: S311 - no secret
    return min(timedelta(seconds=seconds), LONGEST_PAUSE) * spread


def _end(db: Session, message_id: UUID, worker: str, **values: object) -> bool:
    """Change a message that this worker holds; False if another one has taken it over."""
    mine = update(OutboxMessage).where(
        OutboxMessage.id == message_id, OutboxMessage.worker == worker, OutboxMessage.state == "sending"
    )
    return bool(db.execute(mine.values(lease_until=None, **values)).rowcount)  # type: ignore[attr-defined]  # of an UPDATE


def retry(site: Site, db: Session, message_id: UUID) -> OutboxMessage:
    """Send a dead message again, with all its tries.

    Raises:
        MessageNotFoundError: no message has this id.
        MessageStateError: it is not dead.
    """
    found = db.get(OutboxMessage, message_id, with_for_update=True)
    if found is None:
        raise MessageNotFoundError(f"message {message_id} does not exist", id=str(message_id))
    if found.state != "dead":
        raise MessageStateError(
            f"message {message_id} is {found.state}; only dead ones are sent again", state=found.state
        )
    found.state, found.attempts, found.run_at, found.ended_at = "retrying", 0, site.clock.now(), None
    return found


def of_thread(db: Session, thread: str) -> Sequence[OutboxMessage]:
    """The messages about one thing, oldest first."""
    query = select(OutboxMessage).where(OutboxMessage.thread == thread)
    return db.scalars(query.order_by(OutboxMessage.created_at, OutboxMessage.id)).all()


def listed(db: Session, *, state: str | None = None, limit: int = 200) -> Sequence[OutboxMessage]:
    """The newest messages first."""
    query = select(OutboxMessage).order_by(OutboxMessage.created_at.desc(), OutboxMessage.id).limit(limit)
    return db.scalars(query if state is None else query.where(OutboxMessage.state == state)).all()


@dataclass(frozen=True, slots=True)
class Backlog:
    """The messages of one channel.

    Attributes:
        by_state: number of messages in each state that has some.
        due_since: when the message that is due longest was first due; None if none is.
        last_sent_at: None if none was sent in the last 30 days.
    """

    by_state: dict[str, int]
    due_since: datetime | None
    last_sent_at: datetime | None


def backlogs(site: Site, db: Session) -> dict[str, Backlog]:
    """The messages of every channel that is set."""
    channel, state, now = OutboxMessage.channel, OutboxMessage.state, site.clock.now()
    counted = db.execute(select(channel, state, func.count()).group_by(channel, state)).all()
    due = select(channel, func.min(OutboxMessage.run_at)).where(
        state.in_(("waiting", "retrying", "sending")), OutboxMessage.run_at <= now
    )
    sent = select(channel, func.max(OutboxMessage.ended_at)).where(state == "sent")
    since, last = (dict(iter(db.execute(query.group_by(channel)))) for query in (due, sent))
    return {
        name: Backlog({s: n for of, s, n in counted if of == name}, since.get(name), last.get(name))
        for name in channels(site.settings)
    }


def give_up_unset(site: Site, db: Session) -> list[OutboxMessage]:
    """Let messages die whose channel is no longer set, and return them."""
    unset = select(OutboxMessage).where(
        OutboxMessage.state.in_(("waiting", "retrying", "held")),
        OutboxMessage.channel.not_in(list(channels(site.settings))),
    )
    dead = list(db.scalars(unset.with_for_update()))
    for row in dead:
        row.state, row.ended_at, row.reason = "dead", site.clock.now(), "its channel is no longer set"
        log.error("message is undeliverable", channel=row.channel, message=str(row.id), reason=row.reason)
    return dead


def forget(db: Session, now: datetime) -> None:
    """Delete messages that ended long ago."""
    db.execute(delete(OutboxMessage).where(OutboxMessage.ended_at < now - KEPT))


def clock_set_back(db: Session, now: datetime, before: datetime) -> None:
    """Let messages go out when they would have, had the clock not been set back.

    What waits for a time that people chose (the end of a maintenance, the hour of a digest) keeps it.

    Args:
        now: by the clock as it is.
        before: the latest time by the clock as it was.
    """
    by = before - now
    new = and_(OutboxMessage.state == "waiting", OutboxMessage.created_at > now, OutboxMessage.thread != DIGEST)
    again = and_(OutboxMessage.state == "retrying", OutboxMessage.run_at > now)
    for row in db.scalars(select(OutboxMessage).where(or_(new, again))):
        row.run_at = max(now, row.run_at - by)
    sending = OutboxMessage.state == "sending", OutboxMessage.lease_until > now
    for row in db.scalars(select(OutboxMessage).where(*sending)):
        assert row.lease_until is not None  # the query asked for it
        row.lease_until = max(now, row.lease_until - by)

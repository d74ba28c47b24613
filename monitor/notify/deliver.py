"""Deliver what is due: one message of one channel at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.logs import logger
from monitor.carriers import for_whom
from monitor.finding_tables import AlertFinding
from monitor.harm import harm
from monitor.notify import chart, outbox
from monitor.notify.announcement import Announcement
from monitor.notify.channels import Channel, channel
from monitor.notify.message import Known, Message, compose, leading
from monitor.notify.outcome import Outcome
from monitor.notify.report_message import report_message
from monitor.notify.send import send
from monitor.notify.tables import OutboxMessage
from monitor.notify.tell import readable_spec
from monitor.site import Site
from monitor.tables import Window

log = logger("monitor.notify.deliver")


@dataclass(frozen=True, slots=True)
class Watch:
    """What is done about a channel in the transaction that records a delivery, or the death of a message."""

    delivered: Callable[[Site, Session, OutboxMessage], None]
    given_up: Callable[[Site, Session, OutboxMessage], None]


def deliver_next(site: Site, to: Channel, watch: Watch, *, worker: str) -> bool:
    """Deliver the message of a channel that has been due longest; False when none is due.

    A worker that dies after the receiver has the message, and before that is recorded, leads to a second delivery under
    the same id.
    """
    limit_s = site.settings.notify.timeout_s
    with site.database.read() as db:
        if not outbox.is_due(db, to.name, site.clock.now()):
            return False
    with site.database.write() as db:
        claimed = outbox.claim(db, to.name, worker=worker, now=site.clock.now(), lease_s=2 * limit_s + 30)
    if claimed is None:
        return False
    outcome = _try(site, to, claimed)
    with site.database.write() as db:
        if outcome.delivered:
            outbox.delivered(db, claimed.id, worker=worker, now=site.clock.now())
            watch.delivered(site, db, claimed)
        else:
            log.warning(
                "message not delivered", channel=to.name, message=str(claimed.id), attempt=claimed.attempts,
                reason=outcome.reason,
            )  # fmt: skip
            if (dead := outbox.failed(site, db, claimed, outcome.reason, outcome.retry_after_s)) is not None:
                watch.given_up(site, db, dead)
    return True


def _try(site: Site, to: Channel, claimed: OutboxMessage) -> Outcome:
    try:
        message = _composed(site, to, claimed)
        return send(to, message, source=source(site), at=site.clock.now(), limit_s=site.settings.notify.timeout_s)
    except Exception as error:  # noqa: BLE001 - one message that cannot be composed must not stop those behind it
        # Without its text, which may hold an address.
        log.error("message raised", channel=to.name, message=str(claimed.id), kind=type(error).__name__)  # noqa: TRY400
        return Outcome(delivered=False, reason=f"it could not be composed or sent: {type(error).__name__}")


def _composed(site: Site, to: Channel, claimed: OutboxMessage) -> Message:
    items = [Announcement.model_validate(item) for item in claimed.items]
    if items[-1].report is not None:
        return report_message(site, to, claimed.id, items[-1], items[-1].report)
    with site.database.read() as db:
        drawn = chart.draw(db, leading(items)) if claimed.thread != outbox.DIGEST else None
        known = known_of(site, db, leading(items))
    return compose(
        claimed.id, claimed.thread, items, follows=claimed.follows is not None,
        base_url=site.settings.pages_url, chart=drawn, known=known,
    )  # fmt: skip


def known_of(site: Site, db: Session, item: Announcement) -> Known:
    """What is known by now about the alert that a message begins with, as its page says it."""
    why = why_of(db, item)
    window = db.get(Window, item.window_id) if item.window_id is not None else None
    if window is None or item.model_id is None or item.alert_id is None:
        return Known(why=why)
    spec, _ = readable_spec(site, db, item.model_id)
    found = harm(db, window, item.since or window.from_ts, spec)
    before = next((k.before.window_id for k in found.kpis if k.before is not None and k.before.realised), None)
    row = newest_finding(db, item)
    whom = for_whom(db, window, before, row.figures if row is not None else {}, spec)
    return Known(why=why, harm=found.sentence, hurt=found.hurt, whom=whom.sentence)


def why_of(db: Session, item: Announcement) -> str:
    """What drove the alert that a message begins with, in a sentence; empty while it is not known: nothing waits."""
    found = newest_finding(db, item)
    return "" if found is None else found.sentence


def newest_finding(db: Session, item: Announcement) -> AlertFinding | None:
    """The newest finding about the window that is told."""
    if item.alert_id is None:
        return None
    query = select(AlertFinding).where(AlertFinding.alert_id == item.alert_id, AlertFinding.state == "found")
    if item.window_id is not None:
        query = query.where(AlertFinding.window_id == item.window_id)
    return db.scalars(query.order_by(AlertFinding.created_at.desc()).limit(1)).first()


def source(site: Site) -> str:
    """What a CloudEvent names as its source."""
    return site.settings.notify.base_url or f"urn:assay:{site.settings.ledger.origin}"


def send_test(site: Site, name: str, actor: str) -> Outcome:
    """Send a test to a channel at once, and say how it went.

    Raises:
        ChannelNotFoundError: no channel has this name.
    """
    to = channel(site.settings, name)
    now = site.clock.now()
    item = Announcement(
        thread=f"test:{name}", occasion="test", severity="info", at=now,
        sentence=f"This is a test of channel {name}, sent by {actor}.",
    )  # fmt: skip
    message = compose(uuid4(), item.thread, [item], follows=False, base_url=site.settings.pages_url)
    outcome = send(to, message, source=source(site), at=now, limit_s=site.settings.notify.timeout_s)
    log.info("channel tested", channel=name, delivered=outcome.delivered, reason=outcome.reason)
    return outcome

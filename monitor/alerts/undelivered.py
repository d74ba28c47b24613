"""An alert about a channel that does not deliver; it ends with the next message that arrives."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm
from monitor.notify.tables import OutboxMessage
from monitor.notify.tell import UNDELIVERED
from monitor.site import Site
from monitor.tables import Alert

MONITOR: Final = "system"


def given_up(site: Site, db: Session, message: OutboxMessage) -> None:
    """Open an alert of the installation about the channel of a dead message, unless there is one."""
    if _unresolved(db, message.channel) is not None:
        return
    sentence = f"Channel {message.channel} does not deliver: a message is given up, {message.reason}."
    alarm = Alarm(MONITOR, UNDELIVERED, message.channel, None, None, sentence, "critical")
    by_clock.open_alert(site, db, None, alarm, message.created_at, {"attempts": message.attempts})


def delivered(site: Site, db: Session, message: OutboxMessage) -> None:
    """End the alert about the channel of a message, if there is one."""
    if (alert := _unresolved(db, message.channel)) is not None:
        by_clock.end_alert(site, db, alert.id, site.clock.now())


def _unresolved(db: Session, channel: str) -> Alert | None:
    query = select(Alert).where(
        Alert.model_id.is_(None), Alert.monitor == MONITOR, Alert.metric == UNDELIVERED, Alert.column == channel,
        Alert.state != "resolved",
    )  # fmt: skip
    return db.scalars(query).first()

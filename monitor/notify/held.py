"""Announcements that maintenance has held back: told after it if the alarm lasts, else left untold."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.notify import outbox
from monitor.notify.announcement import Announcement
from monitor.notify.channels import channels
from monitor.notify.tables import OutboxMessage
from monitor.service import in_force
from monitor.site import Site
from monitor.spec.notify import Notify
from monitor.tables import Alert, Model, Window

PATIENCE: Final = timedelta(days=31)  # for a window after the maintenance; longer than the longest one


def release(site: Site, db: Session) -> None:
    """Look at every announcement whose maintenance is over."""
    now = site.clock.now()
    over = select(OutboxMessage).where(OutboxMessage.state == "held", OutboxMessage.run_at <= now)
    known = channels(site.settings)
    for row in db.scalars(over.with_for_update(skip_locked=True)).all():
        item = Announcement.model_validate(row.items[0])
        lasts = _lasts(db, item.alert_id, row.run_at)
        if lasts is None and now - row.run_at < PATIENCE:
            continue
        row.state, row.ended_at = "quiet", now
        if lasts and row.channel in known:
            released = item.model_copy(update={"occasion": "released", "at": now})
            outbox.add(site, db, known[row.channel], released, _notify(site, db, item.model_id))


def _lasts(db: Session, alert_id: UUID | None, over_at: datetime) -> bool | None:
    """Whether an alert still alarms after a maintenance; None while no window has closed since."""
    alert = db.get(Alert, alert_id) if alert_id is not None else None
    if alert is None or alert.state == "resolved" or alert.withdrawn_at is not None:
        return False
    if all(e["ended"] is not None for e in alert.episodes if not e.get("withdrawn")):
        return False
    if alert.last_window_id is None:  # of the clock: silence, or the installation itself
        return True
    return True if db.get_one(Window, alert.last_window_id).to_ts > over_at else None


def _notify(site: Site, db: Session, model_id: UUID | None) -> Notify | None:
    return in_force(site, db, db.get_one(Model, model_id)).spec.notify if model_id is not None else None

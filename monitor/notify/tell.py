"""Tell people about an alert: called in the transaction that opens, worsens or resolves it."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from core.errors import AppError
from monitor.notify import describe, outbox, routing
from monitor.notify.announcement import Announcement, Occasion
from monitor.notify.channels import channels
from monitor.service import in_force
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, Model, Window

ENDING: Final = ("resolved", "withdrawn")
UNDELIVERED: Final = "notifications"  # metric of an alert about a channel that does not deliver; `column` is its name


def tell(site: Site, db: Session, alert: Alert, occasion: Occasion) -> None:
    """Write the messages about an occasion into the outbox; the worker sends them after the transaction.

    The end of an incident is told where the incident was told, once the last of its alerts has ended.

    Args:
        alert: as it is after the occasion.
    """
    if not site.settings.channels or (occasion in ENDING and _others_last(db, alert)):
        return
    item, notify = announcement(site, db, alert, occasion), None
    if alert.model_id is not None and (spec := readable_spec(site, db, alert.model_id)[0]) is not None:
        notify = spec.notify
    chosen = routing.chosen(site.settings, item, notify)
    if occasion in ENDING:
        told = outbox.told(db, item.thread)
        digests = {channel.name for channel in chosen if channel.route.digest != "off"}
        chosen = [channel for name, channel in channels(site.settings).items() if name in told | digests]
    dumb = alert.column if alert.model_id is None and alert.metric == UNDELIVERED and occasion not in ENDING else None
    for channel in chosen:
        if channel.name != dumb:
            outbox.add(site, db, channel, item, notify)


def announcement(site: Site, db: Session, alert: Alert, occasion: Occasion) -> Announcement:
    """What is told about an alert; its headline is that of its page too."""
    model = db.get(Model, alert.model_id) if alert.model_id else None
    spec = readable_spec(site, db, model.id)[0] if model is not None else None
    window = db.get(Window, alert.last_window_id) if alert.last_window_id is not None else None
    return Announcement(
        thread=f"incident:{alert.incident_id}", occasion=occasion, severity=alert.severity, at=site.clock.now(),
        sentence=alert.sentence, model=model.name if model else None, model_id=alert.model_id,
        owner=spec.owner if spec else "", alert_id=alert.id, incident_id=alert.incident_id,
        window_id=window.id if window else None, monitor=alert.monitor, metric=alert.metric, column=alert.column,
        value=alert.value, limit=alert.limit, since=since_of(alert),
        consequence=describe.consequences(db, window, since_of(alert)) if window else "",
        context=around(db, alert, site.clock.now()),
        runbook=spec.notify.runbook if spec and spec.notify else None,
    )  # fmt: skip


def occasion_now(alert: Alert) -> Occasion:
    """The occasion of which an alert would be told as it stands."""
    if alert.state == "resolved":
        return "resolved"
    return "withdrawn" if alert.withdrawn_at is not None else "opened"


def readable_spec(site: Site, db: Session, model_id: UUID) -> tuple[ModelSpec | None, str | None]:
    """The spec in force, or None and why it cannot be read: an alarm is told and shown all the same."""
    try:
        return in_force(site, db, db.get_one(Model, model_id)).spec, None
    except NoResultFound:
        return None, "its revision is not stored"
    except AppError as error:
        return None, error.message


def around(db: Session, alert: Alert, now: datetime) -> tuple[str, ...]:
    """What else happened when an alert began: a deploy, maintenance."""
    if alert.model_id is None:
        return ()
    first = db.get(Window, alert.first_window_id) if alert.first_window_id is not None else None
    return tuple(describe.context(db, alert.model_id, first, since_of(alert), now))


def _others_last(db: Session, alert: Alert) -> bool:
    """Whether other alerts of the same incident have not ended."""
    query = select(Alert).where(
        Alert.incident_id == alert.incident_id, Alert.id != alert.id, Alert.state != "resolved",
        Alert.withdrawn_at.is_(None),
    )  # fmt: skip
    return db.scalar(select(exists(query.subquery().select()))) or False


def since_of(alert: Alert) -> datetime:
    """Start of the newest episode that was announced, in the time of the events."""
    told = [e for e in alert.episodes if not e.get("withdrawn")]
    newest = max(told, key=lambda e: (e["told_at"], e["from_ts"]), default=None)
    return datetime.fromisoformat(newest["from_ts"]) if newest else alert.opened_at

"""Which alerts send no messages: those of a snoozed incident, and those that a mute covers."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.orm import Session

from monitor.alerts import store
from monitor.alerts.headlines import last_announced
from monitor.tables import Alert, Mute


def quiet_reason(db: Session, alert: Alert, now: datetime) -> str | None:
    """Why an alert sends no messages at this time; None if it sends them."""
    until = store.incident(db, alert.incident_id).snoozed_until
    if until is not None and now < until:
        return f"its incident is snoozed until {until:%Y-%m-%d %H:%M} UTC"
    mutes = store.mutes(db, alert.model_id, now)
    covering = [mute for mute in mutes if _fits(mute, alert)]
    if _covers(covering, alert):
        mute = max(covering, key=lambda m: m.until)
        return f"{mute.created_by} muted it until {mute.until:%Y-%m-%d %H:%M} UTC: {mute.reason}"
    return None


def _fits(mute: Mute, alert: Alert) -> bool:
    return mute.monitor in ("", alert.monitor) and mute.metric in ("", alert.metric)


def _covers(mutes: Iterable[Mute], alert: Alert) -> bool:
    """Whether mutes that fit an alert name every column that its newest headline names."""
    columns = {mute.column for mute in mutes}
    episode = last_announced(alert)
    named = set(episode["headlines"][-1]["columns"]) if episode is not None else set()
    return "" in columns or (bool(named) and named <= columns)

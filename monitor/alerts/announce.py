"""Say what happened to an alert: in the ledger, in the timeline of its incident, and to people."""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.alerts import incidents, store
from monitor.alerts.headlines import lasts
from monitor.alerts.quiet import quiet_reason
from monitor.notify.tell import tell
from monitor.site import Site
from monitor.tables import Alert, Model

# opened: it is new; again: a further episode; worse: a running episode became more severe or names another column;
# resolved: by a person, or because its cause is gone; withdrawn: corrections took all of its alarms back.
Occasion = Literal["opened", "again", "worse", "resolved", "withdrawn"]


def announce(
    site: Site, db: Session, alert: Alert, occasion: Occasion, *, facts: Mapping[str, Any], actor: str = SYSTEM_ACTOR
) -> None:
    """Announce an occasion in the transaction that makes it one: all of it is recorded, or nothing.

    Args:
        alert: as it is after the occasion; its row exists.
        facts: what the ledger entry `alert.<occasion>` says besides the alert, its monitor and its metric.
        actor: who brought it about.
    """
    record(site, db, alert, occasion, facts=facts, actor=actor)
    now = site.clock.now()
    incident = incidents.follow_alert(db, alert, now)
    text = alert.note or "" if occasion == "resolved" else alert.sentence
    incidents.note(db, incident, occasion, at=now, actor=actor, text=text, alert=alert)
    _tell(site, db, alert, occasion)


def record(
    site: Site, db: Session, alert: Alert, change: str, *, facts: Mapping[str, Any], actor: str = SYSTEM_ACTOR
) -> None:
    """Append the ledger entry `alert.<change>`, about the model or, for an alert without one, about the system."""
    subject = "system" if alert.model_id is None else f"model:{db.get_one(Model, alert.model_id).name}"
    body = {"alert": alert.id, "monitor": alert.monitor, "metric": alert.metric, **facts}
    append_entry(db, kind=f"alert.{change}", actor=actor, subject=subject, body=body, at=site.clock.now())


def _tell(site: Site, db: Session, alert: Alert, occasion: Occasion) -> None:
    """Tell people, unless a snooze or a mute keeps the alert silent. Messages go out after the transaction."""
    if quiet_reason(db, alert, site.clock.now()) is not None:
        alert.held_back = None if occasion == "resolved" else occasion
        return
    alert.held_back = None
    tell(site, db, alert, occasion)


def tell_held_back(site: Site, db: Session) -> None:
    """Tell what snoozes and mutes that have ended kept silent, as far as it still lasts."""
    for found in store.held_back(db):
        if quiet_reason(db, found, site.clock.now()) is None:
            alert = store.locked_alert(db, found.id)
            alert.held_back = None
            if alert.state != "resolved" and lasts(alert):
                tell(site, db, alert, "released")

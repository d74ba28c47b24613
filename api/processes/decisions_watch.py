"""Tells people of decisions that wait or stand: models that are stopped, and changes of a spec that need approval."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.processes.system_alarms import MONITOR, raise_alarm
from governance.policy.stops import standing_stops
from governance.tables import ChangeRequest
from monitor import store as monitored
from monitor.alerts import by_clock, store
from monitor.alerts.headlines import Alarm
from monitor.site import Site

STOPPED: Final = "model_stopped"
WAITS: Final = "change_waits"


def watch_decisions(site: Site, db: Session, now: datetime) -> None:
    """Open an alert for each stopped model and each change that waits, and end those that are over."""
    stopped = {
        model: (f"{stop.words(model)}. Nothing of it is promoted or trained until the stop is lifted.", stop.at)
        for model, stop in standing_stops(db).items()
    }
    _follow(site, db, STOPPED, stopped, now)
    _follow(site, db, WAITS, _waiting(db, now), now)


def _waiting(db: Session, now: datetime) -> dict[str, tuple[str, datetime]]:
    found = {}
    for row in db.scalars(
        select(ChangeRequest).where(ChangeRequest.state == "waiting", ChangeRequest.expires_at > now)
    ):
        model = monitored.model(db, row.model)
        if monitored.spec_revision(db, model.id, model.revision).digest != row.base:
            continue  # outdated
        fields = ", ".join(one["field"] for one in row.loosened)
        people = "1 other person" if row.needed == 1 else f"{row.needed} other people"
        sentence = (
            f"A change of the spec of {row.model} by {row.asked_by} waits for {people} until "
            f"{row.expires_at:%Y-%m-%d %H:%M} UTC; it loosens {fields}."
        )
        found[str(row.id)] = (sentence, row.asked_at)
    return found


def _follow(site: Site, db: Session, metric: str, found: Mapping[str, tuple[str, datetime]], now: datetime) -> None:
    for about, (sentence, since) in found.items():
        past = [a for a in store.system_alerts(db, MONITOR, metric) if a.column == about]
        if not any(a.opened_at >= since and a.state == "resolved" for a in past):  # a person has taken note
            raise_alarm(site, db, Alarm(MONITOR, metric, about, None, None, sentence, "warning", (about,)), since)
    for alert in store.system_alerts(db, MONITOR, metric):
        if alert.state != "resolved" and alert.column not in found:
            by_clock.end_alert(site, db, alert.id, now)

"""Alerts about silence: the clock opens them, without a window, and they are resolved when rows arrive again."""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR
from monitor.alerts import incidents
from monitor.alerts.acknowledge import end
from monitor.alerts.announce import announce
from monitor.alerts.follow import Alarm
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import Alert

SILENCE_SCALE: Final = "clock"  # scale of an episode that belongs to no window


def open_silence(site: Site, db: Session, current: CurrentSpec, alarm: Alarm, since: datetime) -> Alert:
    """Open an alert about silence, which belongs to no window and has one episode.

    Args:
        since: arrival of the last row.
    """
    model, now = current.model, site.clock.now()
    episode = {
        "scale": SILENCE_SCALE, "first_window": None, "last_window": None, "from_ts": since.isoformat(),
        "to_ts": now.isoformat(), "windows": 0, "ended": None, "told_at": now.isoformat(), "sentence": alarm.sentence,
    }  # fmt: skip
    incident = incidents.incident_for(
        db, model.id, from_ts=since, to_ts=now, headline=alarm.sentence, severity=alarm.severity, now=now
    )
    alert = Alert(
        model_id=model.id, incident_id=incident.id, monitor=alarm.monitor, metric=alarm.metric, value=alarm.value,
        limit=alarm.limit, severity=alarm.severity, sentence=alarm.sentence, windows=0, episodes=[episode],
        opened_at=now,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    facts = {
        "column": "", "value": alarm.value, "limit": alarm.limit, "since": since, "spec_revision": current.revision,
        "events_version": site.events.extent(model.name).events_version,
    }  # fmt: skip
    announce(site, db, alert, "opened", facts=facts)
    return alert


def end_silence(site: Site, db: Session, alert: Alert, at: datetime) -> None:
    """End the episode because rows arrive again, and resolve the alert unless a person has already done so."""
    alert.episodes = [{**e, "to_ts": at.isoformat(), "ended": at.isoformat()} for e in alert.episodes]
    if alert.state != "resolved":
        end(site, db, alert, SYSTEM_ACTOR)

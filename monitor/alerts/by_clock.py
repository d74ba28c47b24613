"""Alerts that the clock opens, without a window: about a silent feed, or about the installation itself.

Such an alert has one episode. It ends, and the alert is resolved, as soon as its cause is gone.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR
from monitor.alerts import incidents, store
from monitor.alerts.acknowledge import end
from monitor.alerts.announce import announce
from monitor.alerts.headlines import Alarm, headlines_of, is_worse
from monitor.site import Site
from monitor.tables import Alert

CLOCK_SCALE: Final = "clock"  # scale of an episode that belongs to no window


def open_alert(
    site: Site, db: Session, model_id: UUID | None, alarm: Alarm, since: datetime, facts: Mapping[str, Any]
) -> Alert:
    """Open an alert without a window.

    Args:
        model_id: None for an alert about the installation itself.
        since: when its cause began.
        facts: what the ledger says besides the alarm.
    """
    now = site.clock.now()
    episode = {
        "scale": CLOCK_SCALE, "first_window": None, "last_window": None, "from_ts": since.isoformat(),
        "to_ts": now.isoformat(), "windows": 0, "ended": None, "told_at": now.isoformat(), "sentence": alarm.sentence,
        "headlines": [alarm.headline(now, None)],
    }  # fmt: skip
    incident = incidents.incident_for(
        db, model_id, from_ts=since, to_ts=now, headline=alarm.sentence, severity=alarm.severity, now=now
    )
    alert = Alert(
        model_id=model_id, incident_id=incident.id, monitor=alarm.monitor, metric=alarm.metric, column=alarm.column,
        value=alarm.value, limit=alarm.limit, severity=alarm.severity, sentence=alarm.sentence, windows=0,
        episodes=[episode], opened_at=now,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    incidents.extend(db, alert, since, now)
    told = {
        "column": alarm.column, "value": alarm.value, "limit": alarm.limit, "severity": alarm.severity, "since": since,
    }  # fmt: skip
    announce(site, db, alert, "opened", facts=told | dict(facts))
    return alert


def continue_alert(site: Site, db: Session, alert_id: UUID, alarm: Alarm) -> None:
    """Let the numbers of an alert follow its cause, and announce it again if it became a step more severe."""
    alert, now = store.locked_alert(db, alert_id), site.clock.now()
    episode = dict(alert.episodes[-1])
    worse = is_worse(alarm, headlines_of([episode]))
    alert.value, alert.limit, alert.sentence = alarm.value, alarm.limit, alarm.sentence
    if worse:
        alert.severity = alarm.severity
        episode["headlines"] = [*episode["headlines"], alarm.headline(now, None)]
        if alert.state == "acknowledged":
            alert.state, alert.acknowledged_at, alert.acknowledged_by = "open", None, None
    alert.episodes = [*alert.episodes[:-1], episode | {"sentence": alarm.sentence, "to_ts": now.isoformat()}]
    if worse:
        incidents.extend(db, alert, now, now)
        announce(site, db, alert, "worse", facts={"value": alarm.value, "severity": alarm.severity})


def end_alert(site: Site, db: Session, alert_id: UUID, at: datetime) -> None:
    """End the episode because its cause is gone, and resolve the alert unless a person has already done so."""
    alert = store.locked_alert(db, alert_id)
    alert.episodes = [{**e, "to_ts": at.isoformat(), "ended": at.isoformat()} for e in alert.episodes]
    if alert.state != "resolved":
        end(site, db, alert, SYSTEM_ACTOR)

"""Reminds of the deadlines of serious incidents: an alert of the installation that gets worse as time runs out."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.processes.system_alarms import MONITOR, raise_alarm
from monitor.alerts import by_clock, serious, store
from monitor.alerts.headlines import Alarm
from monitor.alerts.severity import Severity
from monitor.site import Site
from monitor.tables import Model

METRIC: Final = "serious_incident"
OVERDUE: Final = "serious_incident_overdue"
LAST: Final = timedelta(days=1)  # before the deadline; from then on it is critical


def watch_serious(site: Site, db: Session, now: datetime) -> None:
    """Tell of each serious incident that no authority was told of: at once, a day before its deadline, and after it."""
    waiting = {str(row.id): row for row in serious.listed(db) if row.state == "open"}
    for key, row in waiting.items():
        model, left = db.get_one(Model, row.model_id).name, row.deadline - now
        severity: Severity = "warning" if left > LAST else "critical"
        by = f"{row.deadline:%Y-%m-%d %H:%M} UTC"
        if left <= timedelta():
            said = f"the authority should have been told by {by}"
        elif left <= LAST:
            said = f"less than a day is left to tell the authority, until {by}"
        else:
            said = f"the authority must be told by {by}"
        sentence = f"Serious incident {key[:8]} of {model}: {said} ({serious.WORDS[row.kind]})."
        metric = OVERDUE if left <= timedelta() else METRIC
        raise_alarm(site, db, Alarm(MONITOR, metric, key, None, None, sentence, severity, (key,)), row.aware_at)
    for alert in (*store.system_alerts(db, MONITOR, METRIC), *store.system_alerts(db, MONITOR, OVERDUE)):
        if alert.state != "resolved" and alert.column not in waiting:
            by_clock.end_alert(site, db, alert.id, now)

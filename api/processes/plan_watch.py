"""An alert of the installation for each model of which planned checks were not performed."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.processes.system_alarms import MONITOR, raise_alarm
from core.errors import AppError
from core.logs import logger
from monitor import store as monitored
from monitor.alerts import by_clock, store
from monitor.alerts.headlines import Alarm
from monitor.site import Site
from reports.facts.execution import failures, plan_of

METRIC: Final = "missed_checks"
EVERY_S: Final = 600  # between two looks
PERIOD: Final = timedelta(days=1)
SETTLED: Final = timedelta(minutes=15)  # what fell due since may still be on its way
# No scheduler ticked: that is one alert about the installation, `missed_ticks`, and not one for each model.
OUTAGE: Final = "look every minute whether a check is due"
log = logger("api.processes.plan_watch")


def watch_plans(site: Site, db: Session, now: datetime) -> None:
    """Compare plan and execution of the last day for each model; what a person resolved is not told again."""
    missing: set[str] = set()
    for model in monitored.models(db):
        past = [a for a in store.system_alerts(db, MONITOR, METRIC) if a.column == model.name]
        told = max((a.resolved_at for a in past if a.resolved_at is not None), default=now - PERIOD)
        begin, end = max(now - PERIOD, told, model.created_at), now - SETTLED
        if begin >= end:
            continue
        try:
            found = [line for line in failures(plan_of(db, model, begin, end, decided=now)) if line.planned != OUTAGE]
        except (AppError, ValueError) as error:  # a spec that this release cannot read is an alert of its own
            log.warning("a plan could not be looked at", model=model.name, error=str(error)[:200])
            continue
        if not found:
            continue
        words = "; ".join(f"{line.missed} of {line.due} to {line.planned}" for line in found)
        sentence = f"Checks of {model.name} were missed from {begin:%Y-%m-%d %H:%M} UTC on: {words}."
        count = float(sum(line.missed or 0 for line in found))
        alarm = Alarm(MONITOR, METRIC, model.name, count, 0.0, sentence, "warning", (model.name,))
        raise_alarm(site, db, alarm, begin)
        missing.add(model.name)
    for alert in store.system_alerts(db, MONITOR, METRIC):
        if alert.state != "resolved" and alert.column not in missing:
            by_clock.end_alert(site, db, alert.id, now)

"""Outcomes that stay away. The clock decides this: a window without outcomes has nothing to be computed from."""

from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from monitor import store
from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm
from monitor.alerts.severity import Severity
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import ReferenceRow, Window
from monitor.windows import quality

MONITOR: Final = "outcomes"
METRIC: Final = "late_outcomes"
WAIT_FACTOR: Final = 2  # a window is due once this many times the usual delay have passed since its end
MAX_MISSING: Final = 0.5  # share of a due window's rows without an outcome; in the reference it is at most 5 %
CRITICAL_MISSING: Final = 0.9
MIN_ROWS: Final = 30
NEWEST: Final = 20  # windows among which the newest due one with enough rows is sought


def watch(site: Site, model_name: str) -> None:
    """Open an alert once most outcomes of a window are overdue, and end it once they have arrived. Safe to run twice.

    Labels usually arrive within the delay that 99 % of the reference's labels kept, known once 95 % of its rows have
    one. The newest window that ended at least twice this delay ago is looked at.
    """
    with site.database.read() as db:
        model = current_spec(site, db, model_name).model
        row = store.newest_reference(db, model.id)
        delay = None if row is None else quality.usual_label_delay(site, row)
        window = None if row is None or delay is None else _newest_due(site, db, row, delay)
        known = [a for a in store.alerts_of(db, model.id, MONITOR) if any(e["ended"] is None for e in a.episodes)]
    if window is None or delay is None:
        return
    alert = known[-1] if known else None
    missing = 1.0 - window.labels / window.rows
    if missing <= MAX_MISSING:
        if alert is not None:
            with site.database.write() as db:
                by_clock.end_alert(site, db, alert.id, site.clock.now())
        return
    severity: Severity = "critical" if missing >= CRITICAL_MISSING else "warning"
    alarm = Alarm(MONITOR, METRIC, "", missing, MAX_MISSING, _sentence(window, delay), severity)
    if alert is None:
        with site.database.write() as db:
            by_clock.open_alert(site, db, model.id, alarm, window.from_ts, {"window": window.id})
    elif alert.state != "resolved" and (alert.sentence, alert.severity) != (alarm.sentence, severity):
        with site.database.write() as db:
            by_clock.continue_alert(site, db, alert.id, alarm)


def _newest_due(site: Site, db: Session, row: ReferenceRow, delay: timedelta) -> Window | None:
    """The newest window after the reference whose outcomes should have arrived."""
    found = store.windows(db, row.model_id, until=site.clock.now() - WAIT_FACTOR * delay, limit=NEWEST)
    own = [w for w in found if w.baseline_id == row.id and w.from_seq >= (row.to_seq or 0) and w.rows >= MIN_ROWS]
    return own[-1] if own else None


def _sentence(window: Window, delay: timedelta) -> str:
    return (
        f"Outcomes stay away: {window.labels:,} of the {window.rows:,} rows of the window that ended "
        f"{window.to_ts:%Y-%m-%d %H:%M} UTC have one. They usually arrive within {_words(delay)}."
    )


def _words(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"

"""Announce what was lost in the logs of dead processes: an alert and a ledger entry for each damaged stretch."""

from api.processes import system_alarms
from core.logs import logger
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.read import ledger_rows
from monitor.alerts.headlines import Alarm
from monitor.events import wal_damage
from monitor.events.wal_damage import Damage
from monitor.site import Site

DAMAGED = "damaged_log"
KIND = "log.damaged"
log = logger("api.processes.damaged_logs")


def announce_damage(site: Site) -> None:
    """Announce what was found on this machine and not announced yet; a fault must not stop the caller's other work."""
    aside = site.events.unflushed.aside
    try:
        for report, damage in wal_damage.reports(aside):
            _announce(site, damage)
            wal_damage.announced(report)
    except Exception:
        log.exception("damage in a log could not be announced")


def _announce(site: Site, damage: Damage) -> None:
    now, subject = site.clock.now(), f"log:{damage.file}"
    with site.database.write() as db:
        if ledger_rows(db, kind=KIND, subject=subject, limit=1):
            return  # this process died before it could note that
        body = {
            "log": damage.log, "from": damage.first, "to": damage.end, "counted": damage.whole,
            "lost": [
                {"model": one.model, "table": one.kind, "records": one.records, "rows": one.rows} for one in damage.lost
            ],
            "recovered": {"records": damage.recovered_records, "rows": damage.recovered_rows},
        }  # fmt: skip
        append_entry(db, kind=KIND, actor=SYSTEM_ACTOR, subject=subject, body=body, at=now)
        rows = float(sum(one.rows for one in damage.lost))
        alarm = Alarm(
            system_alarms.MONITOR, DAMAGED, damage.file, rows, 0.0, _sentence(damage), "critical", (damage.file,)
        )
        system_alarms.raise_alarm(site, db, alarm, now)


def _sentence(damage: Damage) -> str:
    lost = [f"{one.rows:,} rows of {one.model} ({one.kind})" for one in damage.lost]
    if not damage.whole:
        lost.append("an unknown number of rows" if not lost else "possibly more")
    return (
        f"The log of a process that ended was damaged: {', '.join(lost)} had been acknowledged and cannot be read. "
        f"{damage.recovered_rows:,} other rows of the log were recovered. The damaged bytes are kept in "
        f"{wal_damage.ASIDE}/{damage.file} of the home folder. Send again what was sent then (rows that are there "
        "already count as duplicates), check the disk, and resolve this."
    )

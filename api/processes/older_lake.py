"""Announce that the lake was restored from an older copy than the database: an alert and a ledger entry for each table.

New rows go on after the numbers that were judged (`monitor.events.number_floor`); what is gone can be sent again.
"""

import json
from typing import Final

from api.processes import system_alarms
from core.logs import logger
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.read import ledger_rows
from monitor.alerts.headlines import Alarm
from monitor.events.number_floor import Behind
from monitor.site import Site

OLDER: Final = "older_lake"
KIND: Final = "lake.behind"
log = logger("api.processes.older_lake")


def announce_older_lake(site: Site) -> None:
    """Announce what was found on this machine and not announced yet; a fault must not stop the caller's other work."""
    if site.events.number_floor is None:
        return
    try:
        for report, behind in site.events.number_floor.reports():
            _announce(site, behind)
            report.unlink(missing_ok=True)
    except Exception:
        log.exception("an older lake could not be announced")


def _announce(site: Site, behind: Behind) -> None:
    now, subject = site.clock.now(), f"model:{behind.model}"
    body = {"table": behind.kind, "found": behind.found, "judged": behind.judged}
    with site.database.write() as db:
        told = ledger_rows(db, kind=KIND, subject=subject, limit=10)
        if any(json.loads(row.entry)["body"] == body for row in told):
            return  # this process died before it could note that
        append_entry(db, kind=KIND, actor=SYSTEM_ACTOR, subject=subject, body=body, at=now)
        about = f"{behind.model} ({behind.kind})"
        gone = float(behind.judged - behind.found)
        alarm = Alarm(system_alarms.MONITOR, OLDER, about, gone, 0.0, _sentence(behind), "critical", (behind.model,))
        system_alarms.raise_alarm(site, db, alarm, now)


def _sentence(behind: Behind) -> str:
    gone = behind.judged - behind.found
    return (
        f"The lake is older than the database: {behind.kind} of {behind.model} end before {behind.found:,}, and "
        f"those before {behind.judged:,} were judged: {gone:,} rows are gone. Verdicts about them stay; new rows are "
        f"numbered from {behind.judged:,} on, and judged. Send again what was sent after the copy was made (rows that "
        "are there already count as duplicates), and resolve this."
    )

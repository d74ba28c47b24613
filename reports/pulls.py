"""Who pulled which file of a report: each pull is an entry of the ledger, written before the file leaves."""

from typing import Final

from governance.access.roles import Caller
from governance.ledger.append import append_entry
from monitor.site import Site
from reports.tables import Report

PULLED: Final = "report.pulled"


def record_pull(site: Site, caller: Caller, report: Report, model: str, *, name: str, digest: str) -> None:
    """One short transaction, so that pulls do not wait for each other longer than that takes.

    Args:
        name: of the file, which says model and period.
        digest: of what is handed out.
    """
    body = {
        "by": {"actor": caller.name, "key": caller.prefix, "owner": caller.owner}, "model": model,
        "report": report.id, "file": name, "sha256": digest,
    }  # fmt: skip
    with site.database.write() as db:
        append_entry(db, kind=PULLED, actor=caller.name, subject=f"report:{report.id}", body=body, at=site.clock.now())

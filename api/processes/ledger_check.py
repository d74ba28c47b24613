"""Verify the ledger and the rows that it binds, in a worker, because somebody asked from a page."""

from core.jobs import LedgerCheckJob
from core.queue import Retry
from governance.binding.check import check_rows
from governance.ledger.checks import begin_check, end_check
from governance.ledger.extends import places_of
from governance.ledger.keys import earlier_vkeys
from governance.ledger.selfcheck import verify_ledger
from governance.verify.findings import RowsFacts
from monitor.site import Site


def run(site: Site, job: LedgerCheckJob) -> Retry | None:
    """Read every entry, checkpoint and bound row; what does not agree is recorded for the page."""
    import migrations.tables  # noqa: F401 - every mapped class: rows of a class that is not loaded cannot be held

    with site.database.write() as db:
        if not begin_check(db, job.check_id, site.clock.now()):
            return None
    vkeys = [site.keys.vkey, *earlier_vkeys(site.settings.home_dir)]
    try:
        with site.database.read() as db:
            verdict = verify_ledger(db, places=places_of(site.settings), vkeys=vkeys)
            rows = check_rows(db)
    except Exception as error:
        with site.database.write() as db:
            words = f"It could not be read to the end ({type(error).__name__}); run `assay verify` on this machine."
            end_check(db, job.check_id, findings=[], words=words, entries=None, signed=None, now=site.clock.now())
        raise
    findings = [str(finding) for finding in (*verdict.findings, *rows.findings)]
    facts = RowsFacts(rows.rows, rows.found, rows.since)
    entries = verdict.facts.entries
    signed = entries - verdict.unsigned
    with site.database.write() as db:
        end_check(
            db, job.check_id, findings=findings, words=facts.words, entries=entries, signed=signed,
            now=site.clock.now(),
        )  # fmt: skip
    return None

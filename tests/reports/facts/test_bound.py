"""A report over rows that were changed outside Assay says so, and states nothing else."""

import subprocess
from pathlib import Path

from sqlalchemy import select, text

from monitor.alerts import changed_rows, store
from monitor.site import Site
from monitor.tables import Model
from reports import service
from reports.document import AuditReport
from reports.facts.bound import CHANGED, health_of_page
from reports.wording.health import Health
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import END, START


def built(site: Site) -> tuple[AuditReport, bytes]:
    with site.database.write() as db:
        row = service.request(site, db, "support-intents", "audit", START, END, [], "a.lindqvist")
    files = service.build(site, row.id).files
    assert files is not None
    return AuditReport.model_validate_json(site.artifacts.get(files["json"])), site.artifacts.get(files["pdf"])


@SQLITE_FIRST
def test_a_report_over_changed_rows_states_only_that_they_were_changed(
    site: Site, pdftotext: str, tmp_path: Path
) -> None:
    with site.database.write() as db:
        tell(site, db)
    before, _ = built(site)
    assert before.health.startswith("Quiet since")
    assert before.bound is not None
    assert (before.bound.changes, before.bound.unbound, before.bound.rows > 150) == (0, 0, True)
    with site.database.engine.begin() as connection:
        connection.execute(text("update measurement set value = 0.97 where value is not null"))
        connection.execute(text("update alert set first_window_id = null, last_window_id = null"))
        connection.execute(text("delete from alert_window"))
        connection.execute(text("delete from trigger_decision where not fired"))
    after, pdf = built(site)
    assert after.bound is not None
    assert (after.status, {line.answer for line in after.verdicts}) == (CHANGED, {"not measured"})
    assert after.health.startswith("The database was changed outside Assay: ")
    assert "Quiet" not in after.health
    found = {(line.what, line.row.split(" ")[0]) for line in after.bound.changed}
    assert {("row.changed", "measurement"), ("row.changed", "alert")} <= found
    (tmp_path / "report.pdf").write_bytes(pdf)
    printed = subprocess.run(
        [pdftotext, tmp_path / "report.pdf", "-"], capture_output=True, check=True, text=True
    ).stdout
    assert "Rows changed outside Assay" in printed
    assert "Quiet since" not in printed


@SQLITE_FIRST
def test_a_page_and_an_alert_say_that_rows_were_changed(site: Site) -> None:
    with site.database.write() as db:
        tell(site, db)
    changed_rows.watch(site)
    with site.database.engine.begin() as connection:
        connection.execute(text("update \"window\" set verdict = 'ok'"))
    changed_rows.watch(site)
    with site.database.read() as db:
        (alert,) = store.system_alerts(db, changed_rows.MONITOR, changed_rows.ROWS)
        assert (alert.column, alert.severity) == ("support-intents", "critical")
        assert "window changed" in alert.sentence
        shown = health_of_page(db, db.scalars(select(Model)).one(), Health("ok", "Quiet since yesterday."))
    assert (shown.status, "Quiet" in shown.sentence) == ("alarm", False)
    with site.database.read() as db:
        assert changed_rows.standing(db, ["support-intents", "another"]) == {"support-intents": alert.sentence}

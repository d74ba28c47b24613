"""Rows that people are shown are bound to the ledger, and each change from outside is named."""

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from api.cli import app
from core.db import Database
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.binding.check import RowsVerdict, check_rows
from governance.binding.found import _DONE, take_stock
from governance.ledger import guard
from monitor.site import Site
from monitor.tables import Alert, Measurement
from reports.facts.bound import bound_rows
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.reports.story import Story, tell


@pytest.fixture
def story(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


def verdict(site: Site) -> RowsVerdict:
    with site.database.read() as db:
        return check_rows(db)


def outside(site: Site, *statements: str) -> None:
    """What somebody with the password of the database does."""
    with site.database.engine.begin() as connection:
        guard.remove(connection)
        for statement in statements:
            connection.execute(text(statement))


def said(site: Site) -> list[str]:
    return [str(finding) for finding in verdict(site).findings]


@SQLITE_FIRST
def test_a_story_that_nobody_touched_is_as_recorded(site: Site, story: Story) -> None:
    found = verdict(site)
    assert found.findings == ()
    assert found.rows > 150
    assert found.found == 0


CHANGES = {
    "update measurement set value = 0.97 where metric = 'accuracy' and value < 0.8": ("row.changed", "value 0.97"),
    "update \"window\" set verdict = 'ok' where verdict = 'alarm'": ("row.changed", 'verdict "alarm"'),
    'update "window" set from_ts = to_ts where number = 3': ("row.changed", "from_ts"),
    "update alert set severity = 'info', opened_at = acknowledged_at": ("row.changed", "severity", "opened_at"),
    "delete from trigger_decision where reason like '162%'": ("row.missing", "trigger_decision", "162"),
    "update gate_result set verdict = 'fail'": ("row.changed", "gate_result"),
    "update run set state = 'rejected'": ("row.changed", "run", '"rejected"'),
    "update model_version set stage = 'retired' where stage = 'champion'": ("row.changed", '"champion"'),
    "update spec_revision set document = '{}' where revision = 1": ("row.changed", "document"),
    "update explanation set additivity_residual = 0": ("row.changed", "additivity_residual"),
}


@SQLITE_FIRST
def test_a_row_that_was_changed_by_sql_is_named(site: Site, story: Story) -> None:
    for statement, words in CHANGES.items():
        with site.database.engine.connect() as connection:
            connection.execute(text(statement))
            with Session(connection) as db:
                found = "\n".join(map(str, check_rows(db).findings))
            connection.rollback()
        assert all(word in found for word in words), (statement, found)
    assert said(site) == []


@SQLITE_FIRST
def test_rows_are_held_in_rounds_with_the_same_verdict(site: Site, story: Story) -> None:
    outside(site, *CHANGES, "delete from measurement where metric = 'f1_macro' and value > 0.88")
    with site.database.read() as db:
        whole, rounds = check_rows(db), check_rows(db, at_once=4000)
    assert len(whole.findings) > 20
    assert (set(rounds.findings), rounds.rows, rounds.found) == (set(whole.findings), whole.rows, whole.found)
    assert len(rounds.findings) == len(whole.findings)
    assert set(rounds.of_model(str(story.model_id))) == set(whole.of_model(str(story.model_id)))


@SQLITE_FIRST
def test_a_row_that_was_inserted_is_named(site: Site, story: Story) -> None:
    columns = [column.name for column in Measurement.__table__.columns]
    kept = ", ".join(f'"{name}"' for name in columns if name not in ("id", "segment"))
    new = "'00000000000000000000000000000001'" if site.database.engine.dialect.name == "sqlite" else "gen_random_uuid()"
    chosen = f"select {new}, 'forged', {kept} from measurement where value is not null limit 1"
    outside(site, f"insert into measurement (id, segment, {kept}) {chosen}")
    assert ["row.extra" in line and "forged" in line for line in said(site)] == [True]


@SQLITE_FIRST
def test_what_the_service_changes_later_hides_nothing(site: Site, story: Story) -> None:
    """A late outcome changes the row that somebody has changed: the value that the ledger knows still counts."""
    with site.database.read() as db:
        row = db.scalars(select(Measurement).where(Measurement.value.is_not(None))).all()[0]
    outside(site, "update measurement set value = 0.97, low = 0.96 where value is not null")
    with site.database.write() as db:
        stored = db.get_one(Measurement, row.id)
        stored.previous_value, stored.value = stored.value, 0.5
    mine = [line for line in said(site) if str(row.id) in line]
    assert any("value 0.97 when entry" in line for line in mine), mine
    assert any("low" in line for line in mine)


@SQLITE_FIRST
def test_rows_from_before_are_held_to_what_they_were_when_they_were_found(site: Site, story: Story) -> None:
    outside(site, "delete from ledger_binding", "delete from ledger_entry where kind like 'rows.%'")
    _DONE.pop(site.database.engine)
    site.database.engine.dispose()
    with site.database.write() as db:
        db.scalars(select(Alert)).all()[0].note = "seen"
    found = verdict(site)
    assert (found.findings, found.since is not None, found.found == found.rows > 150) == ((), True, True)
    outside(site, "delete from alert")
    assert {f.what for f in verdict(site).findings} == {"row.missing"}


@SQLITE_FIRST
def test_a_report_does_not_miss_entries_that_were_hidden(site: Site, story: Story) -> None:
    """A report finds its entries by the columns beside them."""
    with site.database.read() as db:
        assert bound_rows(db, str(story.model_id)).changes == 0
    outside(site, "update ledger_entry set subject = 'model:other' where kind = 'alert.opened'")
    with site.database.read() as db:
        found = bound_rows(db, str(story.model_id))
    assert [line.bound for line in found.changed] == ["subject model:support-intents"] * 2


@SQLITE_ONLY
@pytest.mark.parametrize("damage", ["'{'", "cast('x' as blob)", "'[]'"])
def test_a_damaged_entry_of_found_rows_neither_stops_a_start_nor_is_stock_taken_anew(
    site: Site, story: Story, damage: str
) -> None:
    outside(site, f"update ledger_entry set entry = {damage} where kind = 'rows.found'")
    _DONE.pop(site.database.engine)
    told = list[str]()
    take_stock(site.database, site.clock, told.append)
    with site.database.write() as db:
        db.scalars(select(Alert)).all()[0].note = "seen"
    with site.database.read() as db:
        kinds = db.execute(text("select kind from ledger_entry order by 1")).scalars().all()
    assert (told, kinds.count("rows.found")) == ([], 1)


@SQLITE_ONLY
def test_stock_is_taken_after_another_process_that_holds_the_database_for_longer_than_a_write_waits(
    site: Site, story: Story
) -> None:
    outside(site, "delete from ledger_binding", "delete from ledger_entry where kind like 'rows.%'")
    _DONE.pop(site.database.engine)
    other, told, failed = Database(site.settings.database_url), list[str](), list[str]()
    event.listen(other.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    with site.database.engine.connect() as holder:
        holder.begin()

        def ended(context: ExceptionContext) -> None:
            failed.append(str(context.original_exception))
            holder.rollback()

        event.listen(other.engine, "handle_error", ended)
        take_stock(other, site.clock, told.append)
    other.dispose()
    assert (failed, len(told)) == (["database is locked"], 1)
    assert verdict(site).found > 150


@SQLITE_ONLY
def test_assay_verify_names_changed_rows_and_fails(site: Site, story: Story) -> None:
    with site.database.write() as db:
        site.sign_ledger(db)
    (site.settings.home_dir / "keys" / "ledger.vkey").write_text(site.keys.vkey)
    verify = ["verify", "--home", str(site.settings.home_dir)]
    whole = CliRunner().invoke(app, verify)
    assert (whole.exit_code, "rows that reports and pages show are as the ledger bound them" in whole.stdout) == (
        0,
        True,
    )
    outside(
        site,
        "update measurement set value = 0.97 where value is not null",
        "delete from trigger_decision where not fired",
    )
    found = CliRunner().invoke(app, verify)
    assert found.exit_code == 1
    assert "FAILED: the database was changed." in found.stdout
    assert "row.missing" in found.stdout
    assert "found value 0.97" in found.stdout


@SQLITE_ONLY
def test_leaves_or_triggers_that_were_dropped_are_told(site: Site, story: Story) -> None:
    """Without the table of leaves nothing can be compared: that is a finding, and no database of an earlier release."""
    with site.database.write() as db:
        site.sign_ledger(db)
    verify = ["verify", "--home", str(site.settings.home_dir)]
    outside(site)
    found = CliRunner().invoke(app, verify)
    assert (found.exit_code, "WARNING: triggers" in found.stdout, "ledger_entry_no_update" in found.stdout) == (
        0, True, True,
    )  # fmt: skip
    with site.database.write() as db:
        create_key(db, name="ann", role=Role.VIEWER, actor="assay", owner="Ann", now=site.clock.now())
    outside(site, "alter table person rename to other")
    found = CliRunner().invoke(app, verify)
    assert (found.exit_code, "key.rights" in found.stdout, "table person" in found.stdout) == (1, True, True)
    outside(site, "drop table ledger_binding", "update measurement set value = 0.97 where value is not null")
    found = CliRunner().invoke(app, verify)
    assert (found.exit_code, "rows.leaves" in found.stdout, "no such table" in found.stdout) == (1, True, True)

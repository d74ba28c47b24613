"""The scheduler's tick: one of N does the work, a missed tick is recorded, cron policies are considered once."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from api.processes import scheduler
from core.clock import ManualClock
from core.queue import Job
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_rows, ledger_size
from monitor import service
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, spec


def names(site: Site) -> list[str]:
    with site.database.read() as db:
        return sorted(db.scalars(select(Job.name)))


def test_time_windows_are_looked_at_by_the_mere_passing_of_time(site: Site, clock: ManualClock) -> None:
    monitors = document()["monitors"] | {"windows": ["1d"], "false_alarms": "1 per 30d"}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=monitors), "tester")
    scheduler.tick(site, "a")
    clock.move_to(clock.now() + timedelta(seconds=31))
    scheduler.tick(site, "a")
    assert names(site) == ["monitor.evaluate"]


def test_only_the_holder_of_the_lease_ticks(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    clock.move_to(clock.now() + timedelta(minutes=5))
    scheduler.tick(site, "b")  # a's lease has run out: b takes over, and records the gap
    clock.move_to(clock.now() + timedelta(seconds=1))
    scheduler.tick(site, "a")
    with site.database.read() as db:
        missed = [row.entry for row in ledger_rows(db, kind="scheduler.missed")]
    assert len(missed) == 1
    assert '"seconds":300' in missed[0]


@SQLITE_FIRST
def test_a_grown_ledger_is_checkpointed(site: Site, clock: ManualClock) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "tester")
    scheduler.tick(site, "a")
    with site.database.read() as db:
        first, size = latest_checkpoint(db), ledger_size(db)
    assert first is not None
    assert first.size == size
    assert len(list(site.settings.anchor_dir.iterdir())) == 1


@pytest.mark.parametrize(
    ("cron", "minutes", "due"),
    [("0 3 * * *", 61, True), ("0 3 * * *", 59, False), ("*/5 * * * *", 5, True), ("0 3 * * 0", 61, False)],
)
def test_a_cron_falls_due_in_the_span_that_holds_its_minute(cron: str, minutes: int, *, due: bool) -> None:
    last = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)  # a Monday
    assert scheduler.fell_due(cron, last, last + timedelta(minutes=minutes)) is due

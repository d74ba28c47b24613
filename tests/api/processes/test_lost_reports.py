"""A report whose job killed its worker too often ends with the reason, and one without a job is built."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete

from api.processes import scheduler
from core import queue
from core.clock import ManualClock
from core.queue import Job
from monitor.site import Site
from reports import service, store
from reports.tables import Report
from tests.databases import SQLITE_FIRST
from tests.retrain import world

pytestmark = SQLITE_FIRST
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def report_id(site: Site, tmp_path: Path) -> UUID:
    world.declare(site, world.spec(world.fake_base(tmp_path / "base")))
    with site.database.write() as db:
        return service.request(site, db, world.NAME, "audit", START, END, [], "ann").id


def ticked(site: Site, clock: ManualClock) -> Report:
    """The report after two ticks, further apart than two looks at reports."""
    for seconds in (1, 20):
        clock.move_to(clock.now() + timedelta(seconds=seconds))
        scheduler.tick(site, "one")
    with site.database.read() as db:
        return store.report(db, report_id_of(site))


def report_id_of(site: Site) -> UUID:
    with site.database.read() as db:
        return db.query(Report.id).one()[0]


def claimed(site: Site, clock: ManualClock, report_id: UUID) -> queue.Claimed | None:
    """The report's job, taken by a worker that dies with it."""
    with site.database.write() as db:
        taken = queue.claim(db, worker="killed", now=clock.now(), lease_s=30, lanes=("default",))
    while taken is not None and taken.payload.get("report_id") != str(report_id):
        with site.database.write() as db:
            queue.finish(db, taken.id, now=clock.now())
            taken = queue.claim(db, worker="killed", now=clock.now(), lease_s=30, lanes=("default",))
    return taken


def test_a_report_that_killed_its_worker_too_often_fails_with_the_reason(
    site: Site, clock: ManualClock, report_id: UUID
) -> None:
    for _ in range(queue.MAX_LOST):
        assert claimed(site, clock, report_id) is not None
        assert ticked(site, clock).state == "queued"
        clock.move_to(clock.now() + timedelta(seconds=31))
    assert claimed(site, clock, report_id) is None
    found = ticked(site, clock)
    assert found.state == "failed"
    assert "its worker vanished 5 times; the last was killed; look at the worker's log" in (found.error or "")
    assert found.finished_at is not None


def test_a_report_without_a_job_gets_one(site: Site, clock: ManualClock, report_id: UUID) -> None:
    with site.database.write() as db:
        db.execute(delete(Job).where(Job.dedupe_key == f"report:{report_id}"))
    assert ticked(site, clock).state == "queued"
    assert claimed(site, clock, report_id) is not None

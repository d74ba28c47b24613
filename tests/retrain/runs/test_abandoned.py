"""A run whose job failed for good ends with that job's words, and holds back no other; one without a job goes on."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete

from api.processes import scheduler, worker
from core import queue
from core.clock import ManualClock
from core.queue import Job, Lease
from monitor.site import Site
from retrain import store
from retrain.runs.hold import lease_name
from retrain.runs.workspace import Workspace
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.runs.test_run import queued

pytestmark = SQLITE_FIRST


@pytest.fixture
def run_id(site: Site, tmp_path: Path, clock: ManualClock) -> UUID:
    return queued(site, world.fake_base(tmp_path / "base"), clock)


def ticked(site: Site, clock: ManualClock) -> None:
    """The scheduler ticks twice, further apart than two looks at runs."""
    for seconds in (1, 20):
        clock.move_to(clock.now() + timedelta(seconds=seconds))
        scheduler.tick(site, "one")


def test_a_run_that_killed_its_worker_too_often_fails_and_lets_the_next_one_start(
    site: Site, clock: ManualClock, run_id: UUID
) -> None:
    work = Workspace.of(site.settings, run_id)
    (work.trained / "checkpoints").mkdir(parents=True)
    work.until("killed").write_text("0.0")
    with site.database.write() as db:
        assert queue.hold_lease(db, lease_name(run_id), holder="here:1:killed", now=clock.now(), seconds=30)
    for _ in range(queue.MAX_LOST + 1):
        with site.database.write() as db:
            queue.claim(db, worker="killed", now=clock.now(), lease_s=30, lanes=("train",))
        ticked(site, clock)
        clock.move_to(clock.now() + timedelta(seconds=31))
    run = world.read(site, run_id)
    assert run.state == "failed"
    assert "its worker vanished 5 times; the last was killed; the champion stays" in (run.error or "")
    assert world.kinds(site).count("run.failed") == 1
    with site.database.read() as db:
        assert store.open_run(db, world.model_id(db)) is None
        assert db.get(Lease, lease_name(run_id)) is None
    assert list(work.folder.iterdir()) == []
    work.evaluated.mkdir()  # as after a run that had ended when its worker was killed for the last time
    ticked(site, clock)
    assert list(work.folder.iterdir()) == []
    with site.database.write() as db:  # and as when it was killed between its files and its lease
        assert queue.hold_lease(db, lease_name(run_id), holder="here:2:killed", now=clock.now(), seconds=5)
    ticked(site, clock)
    with site.database.read() as db:
        assert db.get(Lease, lease_name(run_id)) is None


def test_a_run_whose_folder_cannot_be_made_fails_with_the_reason(site: Site, clock: ManualClock, run_id: UUID) -> None:
    (site.settings.home_dir / "runs").write_text("a file in its place")
    for _ in range(worker.MAX_ATTEMPTS):
        worker.drain(site, lanes=("train",))
        clock.move_to(clock.now() + timedelta(minutes=5))
    assert world.read(site, run_id).state == "queued"
    ticked(site, clock)
    run = world.read(site, run_id)
    assert run.state == "failed"
    assert "runs" in (run.error or "")


def test_a_run_without_a_job_gets_one_unless_a_machine_holds_it(site: Site, clock: ManualClock, run_id: UUID) -> None:
    with site.database.write() as db:
        db.execute(delete(Job).where(Job.name == "retrain.run"))
        assert queue.hold_lease(db, lease_name(run_id), holder="node:1:x", now=clock.now(), seconds=60)
    ticked(site, clock)
    assert world.jobs(site, "retrain.run") == []
    clock.move_to(clock.now() + timedelta(seconds=61))
    ticked(site, clock)
    ticked(site, clock)
    [job] = world.jobs(site, "retrain.run")
    assert (job.state, job.lock_key) == ("queued", f"train:{world.NAME}")
    assert world.read(site, run_id).state == "queued"

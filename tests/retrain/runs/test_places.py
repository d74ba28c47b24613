"""Where a run is worked at: by one worker at a time, and again elsewhere when its machine is lost."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from core.clock import ManualClock
from core.jobs import RunJob
from core.process import Child
from core.queue import Lease, hold_lease
from core.settings_train import TrainSettings
from monitor.site import Site
from retrain import jobs
from retrain.errors import LeaseLostError, RunLockedError
from retrain.runs.hold import held, lease_name, until_of
from retrain.runs.workspace import Workspace
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.runs.test_run import queued, small, trainers, while_running  # noqa: F401 - `small` is a fixture

pytestmark = SQLITE_FIRST
SUBMIT = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')"


def taken_over(site: Site, run_id: object) -> None:
    """Another machine takes the lease, as when it has expired."""
    with site.database.write() as db:
        db.get_one(Lease, f"run:{run_id}").holder = "elsewhere:1:another"


def second_home(site: Site, tmp_path: Path) -> Site:
    """The same database from another machine, with a scratch folder of its own."""
    return replace(site, settings=site.settings.model_copy(update={"home": tmp_path / "other"}))


def test_a_run_is_held_by_one_machine_even_if_they_share_no_folder(
    small: Site,  # noqa: F811
    tmp_path: Path,
    clock: ManualClock,
) -> None:
    run_id = queued(small, world.fake_base(tmp_path / "base"), clock)
    other = second_home(small, tmp_path)
    with held(small, Workspace.of(small.settings, run_id)) as own:
        retry = jobs.run(other, RunJob(run_id=run_id))
        assert retry is not None
        assert "held by another worker" in retry.reason
        assert world.read(small, run_id).state == "queued"
        with own.database.write():
            pass
        taken_over(small, run_id)
        with pytest.raises(LeaseLostError), own.database.write():
            pass
    with small.database.read() as db:  # who lost a lease does not end that of another
        assert db.get_one(Lease, lease_name(run_id)).holder == "elsewhere:1:another"
    with pytest.raises(RunLockedError), held(small, Workspace.of(small.settings, run_id)):
        pass
    clock.move_to(clock.now() + timedelta(seconds=small.settings.queue.lease_s + 1))
    with held(other, Workspace.of(other.settings, run_id)):
        pass
    with small.database.read() as db:
        assert db.get(Lease, lease_name(run_id)) is None


def test_a_worker_that_loses_its_lease_stops_its_trainer_and_records_nothing_more(
    small: Site,  # noqa: F811
    tiny_base: Path,
    clock: ManualClock,
) -> None:
    run_id = queued(small, tiny_base, clock, epochs=50)
    work = Workspace.of(small.settings, run_id)
    before: list[str] = []

    def lose(thread: threading.Thread) -> None:
        while thread.is_alive() and not trainers(work.train_config):
            time.sleep(0.02)
        before.extend(world.kinds(small))
        taken_over(small, run_id)

    while_running(small, run_id, lose)
    assert trainers(work.train_config) == []
    run = world.read(small, run_id)
    assert (run.state, run.attempts, run.candidate_version) == ("training", 1, None)
    assert world.kinds(small) == before


@pytest.fixture
def submitting(small: Site, tmp_path: Path) -> Site:  # noqa: F811
    words = (sys.executable, "-c", SUBMIT, str(tmp_path / "submitted"), "{run}")
    train = TrainSettings(device="cpu", threads=1, attempts=1, runner="command", command=words)
    return replace(small, settings=small.settings.model_copy(update={"train": train}))


def test_a_run_is_submitted_once_watched_by_its_lease_and_once_more_when_its_machine_is_lost(
    submitting: Site, tmp_path: Path, clock: ManualClock
) -> None:
    run_id = queued(submitting, world.fake_base(tmp_path / "base"), clock)
    lease_s = submitting.settings.queue.lease_s

    def look() -> str:
        retry = jobs.run(submitting, RunJob(run_id=run_id))
        return "" if retry is None else retry.reason

    def submitted() -> list[str]:
        return (tmp_path / "submitted").read_text().split()

    assert [look(), look()] == ["submitted; it has not begun"] * 2
    assert submitted() == [str(run_id)]
    for times in (1, 2):
        with submitting.database.write() as db:
            assert hold_lease(db, lease_name(run_id), holder=f"node{times}:1:x", now=clock.now(), seconds=lease_s)
        assert look() == f"under way at node{times}"
        clock.move_to(clock.now() + timedelta(seconds=lease_s + 1))  # the machine is lost
        look()
        assert submitted() == [str(run_id)] * 2
    run = world.read(submitting, run_id)
    assert (run.state, run.error) == (
        "failed", "submitted 2 times, and not one of the jobs ended the run; look at the jobs of the queue",
    )  # fmt: skip
    assert look() == ""
    with submitting.database.read() as db:
        assert db.query(Lease).where(Lease.name.contains(str(run_id))).count() == 0


def test_a_run_that_waited_too_long_in_its_queue_is_submitted_again(
    submitting: Site, tmp_path: Path, clock: ManualClock
) -> None:
    run_id = queued(submitting, world.fake_base(tmp_path / "base"), clock)
    for _ in range(2):
        jobs.run(submitting, RunJob(run_id=run_id))
        clock.move_to(clock.now() + timedelta(seconds=submitting.settings.train.wait_s + 1))
    assert (tmp_path / "submitted").read_text().split() == [str(run_id)] * 2


@pytest.mark.parametrize(
    ("words", "told"), [(("no-such-command", "{run}"), "no-such-command"), (("false", "{run}"), "false ended with 1")]
)
def test_a_command_that_fails_is_tried_again_and_then_fails_the_run_with_its_words(
    submitting: Site, tmp_path: Path, clock: ManualClock, words: tuple[str, ...], told: str
) -> None:
    train = submitting.settings.train.model_copy(update={"command": words})
    site = replace(submitting, settings=submitting.settings.model_copy(update={"train": train}))
    run_id = queued(site, world.fake_base(tmp_path / "base"), clock)
    for _ in range(2):
        retry = jobs.run(site, RunJob(run_id=run_id))
        assert retry is not None
        clock.move_to(clock.now() + timedelta(minutes=2))
    assert jobs.run(site, RunJob(run_id=run_id)) is None
    run = world.read(site, run_id)
    assert run.state == "failed"
    assert told in (run.error or "")


def test_the_command_line_takes_a_run_to_its_end_and_tells_it_by_its_exit_code(
    small: Site,  # noqa: F811
    tmp_path: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from typer.testing import CliRunner

    from api.cli import app

    base = world.fake_base(tmp_path / "base")
    run_id = queued(small, base, clock)
    (base / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setenv("ASSAY_DB__URL", small.settings.database_url)
    arguments = ["train", str(run_id), "--home", str(small.settings.home_dir), "--json"]
    kept = structlog.get_config()
    for _ in range(2):  # a queue that repeats its job gets the same answer
        done = CliRunner().invoke(app, arguments)
        structlog.configure(**kept)  # the command logs to an output that is closed when it ends
        assert done.exit_code == 13, done.output
        found = json.loads(done.stdout)
        assert (found["outcome"], found["state"]) == ("failed", "failed")
        assert "restore the files" in found["error"]
    assert world.kinds(small).count("run.failed") == 1
    assert os.environ["ASSAY_DB__URL"]


def test_a_worker_that_was_cut_off_ends_no_process_of_its_successor_and_its_own_do_not_live_as_long(
    small: Site,  # noqa: F811
    tmp_path: Path,
    clock: ManualClock,
) -> None:
    queue = small.settings.queue.model_copy(update={"lease_s": 3})
    small = replace(small, settings=small.settings.model_copy(update={"queue": queue}))
    run_id = queued(small, world.fake_base(tmp_path / "base"), clock)
    work = Workspace.of(small.settings, run_id)
    with held(small, work) as first:
        (work.folder / "lock").unlink()  # as on a shared disk whose server has forgotten the locks of a lost machine
        clock.move_to(clock.now() + timedelta(seconds=4))
        with held(small, work) as second:
            limit = time.monotonic() + 60
            while time.monotonic() < limit and until_of(first, work).exists():  # until it finds out that it lost
                if float(until_of(first, work).read_text()) == 0.0:
                    break
                time.sleep(0.05)
            with pytest.raises(LeaseLostError), first.database.write():
                pass
            assert float(until_of(second, work).read_text()) > time.monotonic()
            assert not until_of(first, work).exists() or float(until_of(first, work).read_text()) == 0.0
            child = Child("http.server", ["0"], log=work.log, threads=1, until=until_of(first, work))
            assert child.wait(60, lambda: None, every_s=0.1) == -signal.SIGKILL
    assert not list(work.folder.glob("until*"))

"""The process that trained a run evaluates it as well."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from core.clock import ManualClock
from core.process import Child
from monitor.site import Site
from retrain.runs.processes import evaluator, keeping, trainer
from retrain.runs.workspace import Workspace
from tests.retrain import world
from tests.retrain.runs.test_run import (
    is_a_signed_champion,
    kill_all,
    queued,
    small,  # noqa: F401 - a fixture
    trainers,
    while_running,
)

WRITES_ITS_ID = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).with_suffix('.id').write_text(str(os.getpid()))\n"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, code in (("first", ""), ("second", ""), ("fails", "sys.exit(2)")):
        (tmp_path / f"{name}_of_two.py").write_text(WRITES_ITS_ID + code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = Workspace(uuid4(), tmp_path / "run")
    found.folder.mkdir()
    until(found).write_text(repr(time.monotonic() + 300))
    return found


def until(work: Workspace) -> Path:
    return work.folder / "until"


def ids(work: Workspace) -> list[str]:
    return [path.with_suffix(".id").read_text() for path in (work.train_config, work.eval_config)]


def trained(work: Workspace, module: str = "first_of_two", then: str = "second_of_two") -> Child:
    child = trainer(work, module, then, 1, until(work))
    child.wait(60, lambda: None)
    return child


def test_one_process_trains_and_evaluates(work: Workspace) -> None:
    with keeping():
        assert trained(work).stays
        assert evaluator(work, "second_of_two", 1, until(work)).wait(60, lambda: None) == 0
    assert len(set(ids(work))) == 1


def test_a_process_that_was_killed_or_told_of_another_evaluation_is_replaced(work: Workspace) -> None:
    with keeping():
        first = trained(work)
        os.killpg(first.pid, signal.SIGKILL)
        assert evaluator(work, "second_of_two", 1, until(work)).wait(60, lambda: None) in (0, -signal.SIGKILL)
        assert evaluator(work, "second_of_two", 1, until(work)).wait(60, lambda: None) == 0
        other = trained(work, then="fails_of_two")
        assert evaluator(work, "second_of_two", 1, until(work)).wait(60, lambda: None) == 0
    assert other.process.returncode == -signal.SIGKILL
    assert len(set(ids(work))) == 2


def test_none_stays_that_nobody_will_ask_or_that_failed(work: Workspace) -> None:
    assert not trained(work).stays  # outside of the block
    with keeping():
        kept = trained(work)
        assert kept.process.poll() is None
        failed = trained(work, "fails_of_two")
        assert (failed.stays, failed.process.returncode) == (False, 2)
    with keeping():
        kept = trained(work)
    assert kept.process.returncode == -signal.SIGKILL


@pytest.mark.slow  # what stays and is replaced is asked above; bench/retraining/faults.py kills at random moments
def test_a_run_whose_process_is_killed_while_it_evaluates_ends_with_a_signed_champion(
    small: Site, tiny_base: Path, clock: ManualClock  # noqa: F811
) -> None:  # fmt: skip
    run_id = queued(small, tiny_base, clock)
    found = Workspace.of(small.settings, run_id)
    seen: list[set[int]] = []

    def kill_once(thread: threading.Thread) -> None:
        while thread.is_alive() and not seen:
            if found.eval_config.exists():
                with suppress(FileNotFoundError):
                    seen.append(set(trainers(found.train_config)) & set(trainers(found.eval_config)))
                    kill_all(found.eval_config)
            time.sleep(0.02)

    while_running(small, run_id, kill_once)
    assert len(seen[0]) == 1
    run = world.read(small, run_id)
    assert (run.state, run.attempts, run.error) == ("promoted", 1, None)
    is_a_signed_champion(small, run_id)

"""A run from queue to champion with the real trainer, and what happens when its process is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.jobs import ExplainJob, RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from monitor.store import newest_reference
from retrain import jobs, store
from retrain.registry.champion import champion_of
from retrain.runs.workspace import Workspace
from tests.databases import SQLITE_FIRST
from tests.forks import ROOT
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def small(site: Site) -> Site:
    """The site with one training thread on the CPU, and one resumption of a killed trainer."""
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


def queued(site: Site, base: Path | str, clock: ManualClock, **recipe: float) -> UUID:
    """A manual run on 250 old and 350 newer messages, two intents of them new."""
    world.declare(site, world.spec(base, recipe=recipe))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    return world.start(site)


def trainers(config: Path) -> list[int]:
    """Process ids of everything that was started with this config."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended in between
            if str(config).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def kill_all(config: Path) -> None:
    for pid in trainers(config):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def while_running(site: Site, run_id: UUID, act: Callable[[threading.Thread], None]) -> None:
    """Run the job in a thread and `act` beside it."""
    thread = threading.Thread(target=jobs.run, args=(site, RunJob(run_id=run_id)))
    thread.start()
    try:
        act(thread)
    finally:
        thread.join(240)
    assert not thread.is_alive()


def is_a_signed_champion(site: Site, run_id: UUID) -> None:
    """The run of `queued` ended as it should: through all gates, with a signed version and entries in the ledger."""
    run = world.read(site, run_id)
    assert run.progress is not None
    assert run.progress["phase"] == "done"
    with site.database.read() as db:
        gates = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run_id)}
        champion = champion_of(site, db, world.NAME)
        datasets = store.run_datasets(db, run_id)
        baseline = newest_reference(db, world.model_id(db))
    assert {name: verdict for name, (verdict, _) in gates.items()} == {
        "no_regression": "pass", "fairness": "not_applicable", "forgetting": "pass", "integrity": "pass",
    }  # fmt: skip
    assert champion.version == "v2"
    assert set(champion.labels or ()) == {*tiny.OLD, *tiny.NEW}
    assert world.signed(site, champion)["run"] == str(run_id)
    assert baseline is not None
    assert baseline.from_seq == 600
    assert run.train_dataset_id == datasets["train"].id
    sources = datasets["train"].provenance["sources"]
    assert sources[0]["to_seq"] == 600
    assert {s["table"]: s["delta_version"] for s in sources} == {"router/events": 0, "router/outcomes": 0}
    order = [k for k in world.kinds(site) if k.startswith(("trigger", "dataset", "run", "gate", "version"))]
    assert order == [
        "version.registered", "version.promoted", "trigger.decision", "run.started", *["dataset.registered"] * 3,
        "version.registered", "run.trained", "run.evaluated", *["gate.result"] * 4, "version.promoted",
    ]  # fmt: skip
    assert not Workspace.of(site.settings, run_id).trained.exists()


@pytest.mark.slow  # tests/retrain/runs/test_copied_home.py kills the worker with its trainer, and asks for the same end
def test_a_run_whose_trainer_is_killed_once_goes_on_from_its_checkpoint_and_ends_with_a_signed_champion(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    run_id = queued(small, tiny_base, clock)
    work = Workspace.of(small.settings, run_id)
    checkpoints: list[Path] = []

    def kill_once(thread: threading.Thread) -> None:
        while thread.is_alive():
            checkpoints.extend((work.trained / "checkpoints").glob("checkpoint-*/complete.json"))
            if checkpoints:
                kill_all(work.train_config)
                return
            time.sleep(0.02)

    while_running(small, run_id, kill_once)
    run = world.read(small, run_id)
    assert (run.state, run.attempts, run.error) == ("promoted", 2, None)
    assert checkpoints
    assert run.metrics is not None
    lines = [json.loads(line) for line in work.progress.read_text().splitlines()]
    again = [i for i, line in enumerate(lines) if line["phase"] == "load"][1]
    assert next(line["step"] for line in lines[again:] if line["phase"] == "train") > 1
    is_a_signed_champion(small, run_id)


def test_a_trainer_killed_too_often_fails_the_run_and_the_champion_stays(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    run_id = queued(small, tiny_base, clock)
    config = Workspace.of(small.settings, run_id).train_config

    def kill_every_trainer(thread: threading.Thread) -> None:
        while thread.is_alive():
            kill_all(config)
            time.sleep(0.05)

    while_running(small, run_id, kill_every_trainer)
    run = world.read(small, run_id)
    assert (run.state, run.attempts) == ("failed", 2)
    assert "was killed 2 times" in (run.error or "")
    with small.database.read() as db:
        assert champion_of(small, db, world.NAME).version == "v1"
        assert [v.version for v in store.versions(db, world.model_id(db))] == ["v1"]
    assert world.kinds(small)[-1] == "run.failed"


def test_a_run_held_by_another_worker_is_put_off_and_left_as_it_is(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    run_id = queued(small, tiny_base, clock)
    with Workspace.of(small.settings, run_id).held():
        retry = jobs.run(small, RunJob(run_id=run_id))
    assert retry is not None
    assert "held by another worker" in retry.reason
    assert world.read(small, run_id).state == "queued"


def test_a_trainer_dies_with_the_worker_that_started_it(small: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import pathlib, time; from core.process import Child\n"
        f"Child('http.server', ['0', '--directory', {str(log)!r}], log=pathlib.Path({str(log)!r}), threads=1)\n"
        "time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)

    def children() -> list[int]:
        return [pid for pid in trainers(log) if pid != worker.pid]

    def wait_until(there: bool) -> None:
        deadline = time.monotonic() + 180
        while bool(children()) != there and time.monotonic() < deadline:
            time.sleep(0.02)
        assert bool(children()) == there

    try:
        wait_until(True)
    finally:
        worker.kill()
        worker.wait()
    wait_until(False)


def test_too_few_new_rows_fail_the_run_in_words_and_the_champion_stays(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    world.declare(small, world.spec(tiny_base))
    world.send(small, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(small)
    world.baseline_ends(small, 190)
    assert jobs.run(small, RunJob(run_id=run_id)) is None
    run = world.read(small, run_id)
    assert run.state == "failed"
    assert "10 different labelled texts" in (run.error or "")


def test_a_base_model_changed_since_it_was_registered_stops_the_run(
    small: Site, tmp_path: Path, clock: ManualClock
) -> None:
    base = world.fake_base(tmp_path / "base")
    run_id = queued(small, base, clock)
    (base / "model.safetensors").write_bytes(b"other weights")
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    assert run.state == "failed"
    assert "restore the files" in (run.error or "")


def test_a_decision_is_explained_once_with_the_version_that_made_it(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    world.declare(small, world.spec(tiny_base))
    world.send(small, world.traffic(50, tiny.OLD), clock)
    for _ in range(2):
        jobs.explain(small, ExplainJob(model=world.NAME, event_id="e7"))
    with small.database.read() as db:
        found = store.explanation(db, world.model_id(db), "e7", "v1")
    assert found is not None
    assert found.additivity_residual < 1e-4
    document = json.loads(small.artifacts.get(found.artifact))
    assert document["label"] in tiny.OLD
    assert len(document["words"]) >= 4
    assert world.kinds(small).count("explanation.created") == 1


def test_a_language_model_learns_the_answers_people_gave(
    small: Site, tiny_causal_base: Path, clock: ManualClock
) -> None:
    declared = world.answers_spec(tiny_causal_base)
    world.declare(small, declared)
    for first, count, answer in ((0, 250, "we will look at your {}"), (250, 250, "please bring your {}")):
        frame = world.answers(count, first, answer)
        clock.move_to(world.START + timedelta(minutes=first + count))
        small.events.append_events(declared, frame.drop("given"), now=clock.now())
        small.events.append_outcomes(declared, frame.select("event_id", "given"), now=clock.now())
    world.baseline_ends(small, 250)
    run_id = world.start(small)
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    assert (run.state, run.error) == ("promoted", None)
    with small.database.read() as db:
        found = {g.gate: g.reason for g in store.gates(db, run_id)}
        assert champion_of(small, db, world.NAME).labels is None
    assert "log-probability per token" in found["no_regression"]

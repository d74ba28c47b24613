"""Turns: no model keeps another waiting, and what takes too much is stopped, put off and told."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from api.processes import system_alarms
from api.processes.turns import GIVES_WAY, LONGEST_WAIT, SLOW_S, Turns
from core import queue
from core.clock import SystemClock
from core.jobs import EvaluateJob, UpkeepJob
from core.queue import Job
from core.settings import load
from monitor.site import Site, open_site
from monitor.tables import Alert
from tests.databases import SQLITE_FIRST

TABLE = "tests.api.processes.planted_jobs"
MODELS = [f"quick-{n}" for n in range(5)]
Opened = Callable[..., tuple[Site, Turns]]


@pytest.fixture
def opened(tmp_path: Path, database_url: str) -> Iterator[Opened]:
    """Opens an installation whose worker has these limits; ends its processes after the test."""
    made: list[tuple[Site, Turns]] = []

    def make(**limits: float) -> tuple[Site, Turns]:
        settings = load({}, home=tmp_path / "home", db={"url": database_url}, work=limits, queue={"poll_s": 0.05})
        site = open_site(settings, SystemClock())
        made.append((site, Turns(site, worker="turns", jobs=TABLE)))
        return made[-1]

    yield make
    for site, turns in made:
        turns.close()
        site.close()


def ask(site: Site, *models: str, payload: type[EvaluateJob] | type[UpkeepJob] = EvaluateJob) -> None:
    with site.database.write() as db:
        for model in models:
            key = f"{payload.name}:{model}"
            queue.enqueue(db, payload(model=model), now=site.clock.now(), dedupe_key=key, lock_key=key)


def states(site: Site) -> dict[str, str]:
    with site.database.read() as db:
        return {job.payload["model"]: job.state for job in db.scalars(select(Job).order_by(Job.created_at))}


def until(turns: Turns, condition: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        turns.step()


def alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return list(db.scalars(select(Alert).where(Alert.metric == "stopped_jobs")))


def test_jobs_that_last_delay_no_other_model_and_go_on(opened: Opened) -> None:
    site, turns = opened(turn_s=0.2)
    ask(site, "sleeps-600", "sleeps-601")
    ask(site, *MODELS)
    until(turns, lambda: all(states(site)[model] == "done" for model in MODELS))
    assert {m: s for m, s in states(site).items() if m.startswith("sleeps")} == {
        "sleeps-600": "running", "sleeps-601": "running",
    }  # fmt: skip


def priorities(turns: Turns) -> list[tuple[str, int]]:
    """The model whose job each process runs, and the process's priority."""
    found = [turn for turn in [turns._turn, *turns._long] if turn.job is not None]
    return [(str(t.job and t.job.payload["model"]), os.getpriority(os.PRIO_PROCESS, t.process.pid or 0)) for t in found]


@SQLITE_FIRST
def test_long_work_gives_way_to_verdicts(opened: Opened) -> None:
    site, turns = opened(turn_s=0.2)
    ask(site, "sleeps-600")
    until(turns, lambda: turns._turn.started and bool(turns._long))
    ask(site, "sleeps-601")
    seen: dict[str, set[int]] = {}

    def both() -> bool:
        for model, priority in priorities(turns):
            seen.setdefault(model, set()).add(priority)
        return {"sleeps-600", "sleeps-601"} <= seen.keys()

    until(turns, both)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen["sleeps-600"] == {min(own + GIVES_WAY, 19)}
    assert own in seen["sleeps-601"]  # it began in the turn
    pid = turns._long[0].process.pid
    tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    assert {os.getpriority(os.PRIO_PROCESS, task) for task in tasks} == {min(own + GIVES_WAY, 19)}


@SQLITE_FIRST
def test_a_job_that_only_waits_keeps_the_turn_for_five_turns(opened: Opened) -> None:
    site, turns = opened(turn_s=60)
    ask(site, "sleeps-600")
    until(turns, lambda: turns._turn.job is not None)
    first = turns._turn
    for turns_long, same in ((2, True), (LONGEST_WAIT + 1, False)):
        first.since = time.monotonic() - turns_long * 60
        turns.step()
        assert (turns._turn is first) is same


@SQLITE_FIRST
def test_work_is_slow_until_it_has_been_short_for_a_while(opened: Opened) -> None:
    site, turns = opened(turn_s=0.2)
    ask(site, "works-0.4")
    until(turns, lambda: states(site)["works-0.4"] == "done")
    work = "monitor.evaluate works-0.4"
    assert work in turns._slow
    for ago, slow in ((0.0, True), (SLOW_S + 1, False)):
        turns._slow[work] = time.monotonic() - ago
        job = queue.Claimed(uuid4(), "monitor.evaluate", {"model": "works-0.4"}, 1, site.clock.now())
        turns._turn.give(job)
        turns._ended(turns._turn, None)
        assert (work in turns._slow) is slow


@SQLITE_FIRST
def test_more_long_jobs_than_processes_for_them_wait_for_each_other_alone(opened: Opened) -> None:
    site, turns = opened(turn_s=0.2, long_processes=1)
    ask(site, "works-600", "works-601", "works-602")
    ask(site, *MODELS)
    until(turns, lambda: all(states(site)[model] == "done" for model in MODELS))
    assert sorted(s for m, s in states(site).items() if m.startswith("works")) == ["queued", "queued", "running"]


def test_a_job_beyond_its_time_is_stopped_put_off_and_told_and_the_alert_ends_once_it_is_done(opened: Opened) -> None:
    site, turns = opened(turn_s=0.2, limit_s=0.5)
    ask(site, "sleeps-600")
    until(turns, lambda: bool(alerts(site)))
    (alert,) = alerts(site)
    assert "`monitor.evaluate` of model sleeps-600 was stopped, because it ran for more than 0.5 s" in alert.sentence
    assert "ASSAY_WORK__LIMIT_S" in alert.sentence
    assert alert.severity == "critical"
    ask(site, "sleeps-600", *MODELS)  # asked again it waits all the same
    until(turns, lambda: all(states(site)[model] == "done" for model in MODELS))
    with site.database.write() as db:
        (job,) = db.scalars(select(Job).where(Job.payload["model"].as_string() == "sleeps-600"))
        assert (job.state, job.lost) == ("queued", 1)
        assert job.run_at > site.clock.now() + timedelta(seconds=30)
        queue.finish(db, job.id, now=site.clock.now())
    with site.database.write() as db:
        system_alarms.watch(site, db, site.clock.now(), site.clock.now())
    assert alerts(site)[0].state == "resolved"


@SQLITE_FIRST
def test_a_job_beyond_its_memory_is_stopped(opened: Opened) -> None:
    site, turns = opened(memory_mb=500)
    ask(site, "fills-2000", *MODELS)
    until(turns, lambda: bool(alerts(site)) and all(states(site)[model] == "done" for model in MODELS))
    assert "more than 500 MiB of memory" in alerts(site)[0].sentence


@SQLITE_FIRST
def test_a_process_that_dies_and_a_library_that_panics_stop_nobody(opened: Opened) -> None:
    site, turns = opened()
    ask(site, "dies-1", "panics-1", *MODELS)
    until(turns, lambda: bool(alerts(site)) and all(states(site)[model] == "done" for model in MODELS))
    (alert,) = alerts(site)
    assert "its process was ended by SIGABRT" in alert.sentence
    assert "dies-1" in alert.sentence
    assert states(site)["panics-1"] == "queued"


@SQLITE_FIRST
def test_reports_and_upkeep_of_one_model_keep_no_evaluation_waiting(opened: Opened) -> None:
    site, turns = opened()
    with site.database.write() as db:
        for _ in range(20):
            queue.enqueue(db, UpkeepJob(model="works-0.3"), now=site.clock.now())
    ask(site, *MODELS)
    until(turns, lambda: all(states(site)[model] == "done" for model in MODELS))
    with site.database.read() as db:
        jobs = list(db.scalars(select(Job).where(Job.name == UpkeepJob.name)))
    assert sum(job.state != "queued" for job in jobs) < 20


@SQLITE_FIRST
def test_two_models_reports_take_turns(opened: Opened) -> None:
    site, turns = opened(long_processes=1)
    with site.database.write() as db:
        for _ in range(20):
            queue.enqueue(db, UpkeepJob(model="works-0.3"), now=site.clock.now())
        db.flush()
        queue.enqueue(db, UpkeepJob(model="quick-1"), now=site.clock.now())
    until(turns, lambda: states(site)["quick-1"] == "done")
    with site.database.read() as db:
        jobs = list(db.scalars(select(Job).where(Job.payload["model"].as_string() == "works-0.3")))
    assert sum(job.state == "done" for job in jobs) <= 2

"""The worker's loop: every outcome of a job is recorded, and a dead worker's job is taken over."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from sqlalchemy import select

from api.processes import worker
from core import queue
from core.clock import ManualClock
from core.errors import BusyError, IntegrityFailureError
from core.jobs import AttributionsJob, ConfirmJob, ExplainJob, Payload, ReasonsJob
from core.queue import Job, Retry
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.examples import examples


@pytest.fixture
def jobs() -> dict[str, worker.JobFunction]:
    """A job table, to be filled by the test and passed to the worker."""
    return {}


class Work(Payload):
    name: ClassVar[str] = "work"
    n: int = 1


def put(site: Site, name: str) -> None:
    kind: type[Work] = type("Kind", (Work,), {"name": name})
    with site.database.write() as db:
        queue.enqueue(db, kind(), now=site.clock.now())


def states(site: Site) -> list[tuple[str, str | None]]:
    with site.database.read() as db:
        return [(job.state, job.error) for job in db.scalars(select(Job).order_by(Job.created_at, Job.run_at))]


def test_a_job_runs_once_with_its_payload(site: Site, jobs: dict[str, worker.JobFunction]) -> None:
    seen: list[Mapping[str, Any]] = []
    jobs["work"] = lambda _site, payload: seen.append(payload)
    put(site, "work")
    assert worker.drain(site, jobs=jobs) == 1
    assert worker.drain(site, jobs=jobs) == 0
    assert seen == [{"n": 1}]
    assert states(site) == [("done", None)]


def test_a_job_that_asks_for_it_runs_again_later(
    site: Site, clock: ManualClock, jobs: dict[str, worker.JobFunction]
) -> None:
    answers: list[Retry | None] = [Retry(clock.now() + timedelta(minutes=5), "not yet"), None]
    jobs["work"] = lambda _site, _payload: answers.pop(0)
    put(site, "work")
    worker.drain(site, jobs=jobs)
    assert states(site) == [("queued", "not yet")]
    clock.move_to(clock.now() + timedelta(minutes=6))
    worker.drain(site, jobs=jobs)
    assert states(site)[0][0] == "done"


@SQLITE_FIRST
def test_how_a_job_fails_decides_whether_it_is_tried_again(
    site: Site, clock: ManualClock, jobs: dict[str, worker.JobFunction]
) -> None:
    def raising(error: Exception) -> worker.JobFunction:
        def run(_site: Site, _payload: Mapping[str, Any]) -> None:
            raise error

        return run

    jobs["busy"] = raising(BusyError("the disk is full", retry_after_s=60))
    jobs["broken"] = raising(IntegrityFailureError("bytes changed"))
    jobs["bug"] = raising(ZeroDivisionError("oops"))
    for name in jobs:
        put(site, name)
    worker.drain(site, jobs=jobs)
    assert dict.fromkeys(states(site)) == dict.fromkeys(
        [
            ("queued", "the disk is full"),
            ("failed", "integrity_failure: bytes changed"),
            ("queued", "ZeroDivisionError: oops"),
        ]
    )
    for _ in range(worker.MAX_ATTEMPTS):
        clock.move_to(clock.now() + timedelta(minutes=5))
        worker.drain(site, jobs=jobs)
    assert ("failed", "ZeroDivisionError: oops") in states(site)


def test_a_dead_workers_job_is_taken_over_when_its_lease_runs_out(
    site: Site, clock: ManualClock, jobs: dict[str, worker.JobFunction]
) -> None:
    seen: list[int] = []
    jobs["work"] = lambda _site, _payload: seen.append(1)
    put(site, "work")
    with site.database.write() as db:
        assert queue.claim(db, worker="dead", now=clock.now(), lease_s=30) is not None
    assert worker.drain(site, jobs=jobs) == 0
    clock.move_to(clock.now() + timedelta(seconds=31))
    assert worker.drain(site, jobs=jobs) == 1
    assert seen == [1]


def test_a_stored_payload_that_its_model_refuses_is_not_run_and_not_quoted(site: Site) -> None:
    with site.database.write() as db:
        row = Job(
            name=ConfirmJob.name, payload={"alert_id": "ann@example.org"}, state="queued", run_at=site.clock.now(),
            created_at=site.clock.now(), attempts=worker.MAX_ATTEMPTS, lost=0, lane="default",
        )  # fmt: skip
        db.add(row)
    assert worker.drain(site) == 1
    [(state, error)] = states(site)
    assert state == "failed"
    assert error is not None
    assert "alert_id" in error
    assert "ann@" not in error


def test_a_burst_of_signals_ends_a_worker() -> None:
    """As the kernel sends them when a parent of many threads is killed."""
    code = "from api.processes import worker; stop = worker.stop_on_signal(); print('ready', flush=True); stop.wait()"
    for _ in range(examples(5)):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for _ in range(200):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
        assert process.wait(120) in (0, -signal.SIGTERM)  # the last of them may meet an interpreter that is leaving
        process.stdout.close()


def test_a_person_who_asks_about_one_decision_goes_before_what_nobody_waits_for(site: Site) -> None:
    taken: list[str] = []
    planted = [
        AttributionsJob(model="m", window_id=uuid4()), ReasonsJob(model="m", event_id="e1"),
        ExplainJob(model="m", event_id="e1"),
    ]  # fmt: skip
    with site.database.write() as db:
        for job in planted:
            queue.enqueue(db, job, now=site.clock.now())

    def take(name: str) -> worker.JobFunction:
        return lambda _site, _payload: taken.append(name)

    worker.drain(site, lanes=("explain",), jobs={job.name: take(job.name) for job in planted})
    assert taken[-1] == AttributionsJob.name
    assert len(taken) == 3

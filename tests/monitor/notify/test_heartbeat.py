"""The heartbeat stops when the scheduler or the worker does, and when an evaluation never ends."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from api.processes import scheduler, worker
from core.clock import ManualClock
from core.queue import Job
from monitor.notify.heartbeat import beat, works
from monitor.site import Site
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.monitor.notify.conftest import declare
from tests.monitor.notify.receivers import answer, http_receiver

MINUTE = timedelta(minutes=1)


def run(site: Site, clock: ManualClock, minutes: int, *, ticks: bool = True, worker_runs: bool = True) -> bool:
    """Let time pass as in production; returns whether Assay counts as working at the end."""
    for _ in range(minutes):
        clock.move_to(clock.now() + MINUTE)
        if ticks:
            scheduler.tick(site, "a")
        if worker_runs:
            worker.drain(site)
    with site.database.read() as db:
        return works(db, clock.now())


@SQLITE_FIRST
def test_it_beats_while_windows_are_judged_and_stops_with_the_scheduler(site: Site, clock: ManualClock) -> None:
    with site.database.read() as db:
        assert not works(db, clock.now())  # nothing has ever ticked
    assert run(site, clock, 7)  # no model: nothing to judge
    declare(site)
    assert run(site, clock, 7)
    assert not run(site, clock, 7, ticks=False)
    assert run(site, clock, 1)


@SQLITE_ONLY
def test_it_stops_with_the_worker(site: Site, clock: ManualClock) -> None:
    declare(site)
    assert run(site, clock, 7)
    assert not run(site, clock, 7, worker_runs=False)
    assert run(site, clock, 1)


@SQLITE_ONLY
def test_it_stops_when_evaluations_only_fail(site: Site, clock: ManualClock) -> None:
    declare(site)
    assert run(site, clock, 7)
    with site.database.write() as db:
        db.execute(update(Job).where(Job.state == "done").values(state="failed"))
    assert not run(site, clock, 0)


@pytest.mark.parametrize(("status", "problem"), [(200, None), (404, "answered 404"), (301, "answered 301")])
def test_what_the_outside_monitor_answers_is_said(status: int, problem: str | None) -> None:
    with http_receiver(answer(status)) as receiver:
        assert beat(SecretStr(f"http://{receiver.address}/ping/hunter2")) == problem
        assert receiver.posted[0].path == "/ping/hunter2"


def test_an_outside_monitor_that_is_not_there_is_said_without_its_address() -> None:
    problem = beat(SecretStr("http://127.0.0.1:1/hunter2"))
    assert problem == "no connection"

"""The jobs table on both databases: every job exactly once, and again only when its worker is gone."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from core import queue
from core.db import Database
from core.jobs import EvaluateJob, Payload
from core.queue import Claimed, Job, Retry

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LEASE_S = 30


class Work(Payload):
    name: ClassVar[str] = "work"
    n: int | None = None


def job_type(name: str, lane: str = "default") -> type[Work]:
    return type("Kind", (Work,), {"name": name, "lane": lane})


def add(database: Database, name: str = "work", lane: str = "default", **options: Any) -> None:
    payload = options.pop("payload", None) or job_type(name, lane)()
    with database.write() as db:
        queue.enqueue(db, payload, now=options.pop("now", NOW), **options)


def claim(database: Database, worker: str = "w1", at: datetime = NOW, **options: Any) -> Claimed | None:
    with database.write() as db:
        return queue.claim(db, worker=worker, now=at, lease_s=LEASE_S, **options)


def states(database: Database) -> list[str]:
    with database.read() as db:
        return list(db.scalars(select(Job.state).order_by(Job.state)))


def test_a_job_is_claimed_with_its_payload(database: Database) -> None:
    add(database, payload=EvaluateJob(model="m"))
    job = claim(database)
    assert job is not None
    assert (job.name, job.payload, job.attempts) == ("monitor.evaluate", {"model": "m"}, 1)
    assert claim(database, "w2") is None


def test_a_job_enqueued_in_a_transaction_that_fails_does_not_exist(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as db:
        queue.enqueue(db, Work(), now=NOW)
        queue.enqueue(db, Work(), now=NOW, dedupe_key="k")
        raise RuntimeError
    assert states(database) == []


def test_jobs_are_taken_in_the_order_they_became_due(database: Database) -> None:
    add(database, "third", run_at=NOW + timedelta(seconds=2))
    add(database, "first")
    add(database, "second", run_at=NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=5)
    assert [job.name for _ in range(3) if (job := claim(database, at=later))] == ["first", "second", "third"]


def test_a_job_is_not_taken_before_it_is_due(database: Database) -> None:
    add(database, run_at=NOW + timedelta(minutes=1))
    assert claim(database) is None
    assert claim(database, at=NOW + timedelta(minutes=1)) is not None


def test_a_worker_takes_jobs_of_its_lanes_only(database: Database) -> None:
    add(database, "slow", lane="train")
    assert claim(database, lanes=("default",)) is None
    assert claim(database, lanes=("train",)) is not None


def test_an_unknown_lane_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        add(database, lane="fast")


def test_a_lease_that_runs_out_gives_the_job_to_another_worker(database: Database) -> None:
    add(database)
    first = claim(database)
    assert first is not None
    assert claim(database, "w2", NOW + timedelta(seconds=LEASE_S)) is None  # not yet: the lease holds to the end
    second = claim(database, "w2", NOW + timedelta(seconds=LEASE_S + 1))
    assert second is not None
    assert (second.id, second.attempts) == (first.id, 2)


def test_a_renewed_lease_keeps_the_job(database: Database) -> None:
    add(database)
    job = claim(database)
    assert job is not None
    with database.write() as db:
        assert queue.renew(db, job.id, worker="w1", now=NOW + timedelta(seconds=20), lease_s=LEASE_S)
    assert claim(database, "w2", NOW + timedelta(seconds=LEASE_S + 1)) is None


def test_a_worker_that_lost_its_lease_can_neither_renew_nor_finish(database: Database) -> None:
    add(database)
    job = claim(database)
    assert job is not None
    late = NOW + timedelta(seconds=LEASE_S + 1)
    assert claim(database, "w2", late) is not None
    with database.write() as db:
        assert not queue.renew(db, job.id, worker="w1", now=late, lease_s=LEASE_S)
        assert not queue.finish(db, job.id, now=late, worker="w1", error="too late")
        assert not queue.postpone(db, job.id, Retry(late, "too late"), worker="w1")
    assert states(database) == ["running"]
    with database.write() as db:
        assert queue.finish(db, job.id, now=late, worker="w2")
    assert states(database) == ["done"]


def test_a_job_that_takes_down_every_worker_is_failed_with_the_reason(database: Database) -> None:
    add(database, "poison")
    add(database, "sound", run_at=NOW + timedelta(seconds=1))
    at, names = NOW, []
    for number in range(queue.MAX_LOST + 1):
        job = claim(database, f"w{number}", at)
        assert job is not None
        names.append(job.name)
        at += timedelta(seconds=LEASE_S + 1)
    assert names == ["poison"] * queue.MAX_LOST + ["sound"]
    with database.read() as db:
        failed = db.scalars(select(Job).where(Job.state == "failed")).one()
    assert failed.name == "poison"
    assert f"vanished {queue.MAX_LOST} times" in (failed.error or "")


def test_finishing_records_when_and_why(database: Database) -> None:
    add(database)
    job = claim(database)
    assert job is not None
    with database.write() as db:
        queue.finish(db, job.id, now=NOW, error="invalid: no such model")
    with database.read() as db:
        row = db.scalars(select(Job)).one()
    assert (row.state, row.error, row.finished_at, row.lease_until) == ("failed", "invalid: no such model", NOW, None)
    assert claim(database, at=NOW + timedelta(days=1)) is None


def test_a_postponed_job_runs_again_at_its_time(database: Database) -> None:
    add(database)
    job = claim(database)
    assert job is not None
    with database.write() as db:
        queue.postpone(db, job.id, Retry(NOW + timedelta(seconds=10), "lake is busy"))
    assert claim(database, at=NOW + timedelta(seconds=9)) is None
    again = claim(database, at=NOW + timedelta(seconds=10))
    assert again is not None
    assert again.attempts == 2


def test_a_hundred_requests_with_one_key_leave_one_waiting_job(database: Database) -> None:
    with database.write() as db:
        for _ in range(100):
            queue.enqueue(db, Work(), now=NOW, dedupe_key="monitor:m")
        queue.enqueue(db, Work(), now=NOW, dedupe_key="monitor:other")
    assert states(database) == ["queued", "queued"]


def test_a_key_is_free_again_once_the_job_runs(database: Database) -> None:
    """What arrived after the claim must be looked at too."""
    add(database, dedupe_key="monitor:m")
    assert claim(database) is not None
    add(database, dedupe_key="monitor:m")
    assert states(database) == ["queued", "running"]


def test_a_postponed_job_does_not_collide_with_a_newer_one_of_its_key(database: Database) -> None:
    add(database, dedupe_key="monitor:m")
    job = claim(database)
    assert job is not None
    add(database, dedupe_key="monitor:m")
    with database.write() as db:
        queue.postpone(db, job.id, Retry(NOW, "again"))
    assert states(database) == ["queued", "queued"]


def test_one_lock_key_runs_one_job_at_a_time(database: Database) -> None:
    add(database, "run 1", lock_key="train:m", now=NOW)
    add(database, "run 2", lock_key="train:m", now=NOW + timedelta(seconds=1))
    add(database, "other", lock_key="train:n", now=NOW + timedelta(seconds=2))
    at = NOW + timedelta(seconds=3)
    first, second = claim(database, at=at), claim(database, at=at)
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == ("run 1", "other")
    assert claim(database, at=at) is None
    with database.write() as db:
        queue.finish(db, first.id, now=at)
    third = claim(database, at=at)
    assert third is not None
    assert third.name == "run 2"


def test_two_workers_at_once_run_each_job_exactly_once(database: Database) -> None:
    with database.write() as db:
        for number in range(40):
            queue.enqueue(db, Work(n=number), now=NOW)
    ran: list[int] = []
    errors: list[Exception] = []
    start = threading.Barrier(3)

    def work(name: str) -> None:
        start.wait()
        try:
            while (job := claim(database, name)) is not None:
                ran.append(job.payload["n"])
                with database.write() as db:
                    assert queue.finish(db, job.id, now=NOW, worker=name)
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Counter(ran) == Counter(range(40))
    assert set(states(database)) == {"done"}


def test_workers_racing_for_one_lock_key_never_run_two_jobs_of_it(database: Database) -> None:
    with database.write() as db:
        for number in range(12):
            queue.enqueue(db, job_type("train", "train")(n=number), now=NOW, lock_key="train:m")
    most, ran, errors = [0], [], []
    start = threading.Barrier(3)

    def work(name: str) -> None:
        start.wait()
        try:
            idle = 0
            while idle < 50:
                job = claim(database, name)
                if job is None:
                    idle += 1
                    continue
                with database.read() as db:
                    running = db.scalar(select(func.count()).select_from(Job).where(Job.state == "running"))
                most[0] = max(most[0], running or 0)
                ran.append(job.payload["n"])
                with database.write() as db:
                    queue.finish(db, job.id, now=NOW, worker=name)
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert most == [1]
    assert sorted(ran) == list(range(12))


def hold(database: Database, holder: str, at: datetime) -> bool:
    with database.write() as db:
        return queue.hold_lease(db, "scheduler", holder=holder, now=at, seconds=10)


def test_a_named_lease_has_one_holder_until_it_runs_out(database: Database) -> None:
    assert hold(database, "a", NOW)
    assert not hold(database, "b", NOW + timedelta(seconds=5))
    assert hold(database, "a", NOW + timedelta(seconds=8))  # renewed: now until 18
    assert not hold(database, "b", NOW + timedelta(seconds=12))
    assert hold(database, "b", NOW + timedelta(seconds=18))
    assert not hold(database, "a", NOW + timedelta(seconds=19))


def test_schedulers_that_start_together_agree_on_one_holder(database: Database) -> None:
    got: list[bool] = []
    start = threading.Barrier(4)

    def take(name: str) -> None:
        start.wait()
        got.append(hold(database, name, NOW))

    threads = [threading.Thread(target=take, args=(f"s{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False, False, False, True]


def test_jobs_that_ended_are_forgotten_and_those_that_wait_or_failed_lately_are_kept(database: Database) -> None:
    for name in ("done", "failed", "running", "queued"):
        add(database, name, now=NOW + timedelta(seconds=len(name)))
    for error in (None, "no"):
        job = claim(database, at=NOW + timedelta(minutes=1))
        assert job is not None
        with database.write() as db:
            queue.finish(db, job.id, now=NOW + timedelta(minutes=1), error=error)
    assert claim(database, at=NOW + timedelta(minutes=1)) is not None
    assert states(database) == ["done", "failed", "queued", "running"]

    def forget(done: timedelta, failed: timedelta) -> int:
        with database.write() as db:
            return queue.forget(db, done_before=NOW + done, failed_before=NOW + failed)

    assert forget(timedelta(minutes=1), timedelta(minutes=1)) == 0
    assert forget(timedelta(minutes=2), timedelta(0)) == 1
    assert states(database) == ["failed", "queued", "running"]
    assert forget(timedelta(minutes=2), timedelta(minutes=2)) == 1
    assert states(database) == ["queued", "running"]


def test_a_lease_of_a_time_that_the_clock_left_again_is_no_lease(database: Database) -> None:
    assert hold(database, "before the restart", NOW + timedelta(days=2))
    assert hold(database, "after it", NOW)
    assert not hold(database, "another", NOW + timedelta(seconds=1))


def test_jobs_of_before_the_clock_was_set_back_run_when_they_would_have(database: Database) -> None:
    ahead = NOW + timedelta(days=2)
    add(database, "due", now=ahead, dedupe_key="due")
    add(database, "later", now=ahead, run_at=ahead + timedelta(minutes=1))
    add(database, "running", now=NOW)
    assert claim(database, at=ahead) is not None  # "running" was due first; its worker is gone since
    assert claim(database, at=NOW) is None
    with database.write() as db:
        queue.clock_set_back(db, NOW, ahead)
    first, second = claim(database, at=NOW), claim(database, at=NOW + timedelta(seconds=LEASE_S + 1))
    assert (first and first.name, second and second.name) == ("due", "running")
    third = claim(database, "w3", at=NOW + timedelta(seconds=61))
    assert third is not None

"""What the jobs table stores of each job. Jobs of an older release wait under these names, with these fields."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from core import jobs, queue
from core.clock import ManualClock
from core.db import Database
from core.queue import Job
from tests.databases import SQLITE_FIRST

ID = UUID("6a1c5f0e-8f5b-4c55-9f0c-0c6a4d8f3b21")

STORED: dict[str, tuple[jobs.Payload, str, dict[str, Any]]] = {
    "monitor.evaluate": (jobs.EvaluateJob(model="loans"), "default", {"model": "loans"}),
    "monitor.confirm": (jobs.ConfirmJob(alert_id=ID), "default", {"alert_id": str(ID)}),
    "monitor.why": (jobs.WhyJob(alert_id=ID), "explain", {"alert_id": str(ID)}),
    "monitor.causes": (jobs.CausesJob(alert_id=ID), "explain", {"alert_id": str(ID)}),
    "monitor.upkeep": (jobs.UpkeepJob(model="loans"), "default", {"model": "loans"}),
    "monitor.digest": (jobs.DigestJob(), "default", {}),
    "anchors.deliver": (jobs.AnchorJob(), "default", {}),
    "ledger.check": (jobs.LedgerCheckJob(check_id=ID), "default", {"check_id": str(ID)}),
    "retrain.consider": (
        jobs.ConsiderJob(model="loans", cause="window", window_id=ID),
        "default",
        {"model": "loans", "cause": "window", "window_id": str(ID)},
    ),
    "retrain.run": (jobs.RunJob(run_id=ID), "train", {"run_id": str(ID)}),
    "retrain.explain": (
        jobs.ExplainJob(model="loans", event_id="e 1"),
        "explain",
        {"model": "loans", "event_id": "e 1", "opinions": [], "again": False},
    ),
    "retrain.flips": (jobs.FlipsJob(model="loans"), "explain", {"model": "loans"}),
    "retrain.explain_batch": (
        jobs.ExplainBatchJob(model="loans", batch_id=ID),
        "explain",
        {"model": "loans", "batch_id": str(ID)},
    ),
    "retrain.reasons": (
        jobs.ReasonsJob(model="loans", event_id="e 1"),
        "explain",
        {"model": "loans", "event_id": "e 1", "again": False},
    ),
    "retrain.attributions": (
        jobs.AttributionsJob(model="loans", window_id=ID),
        "explain",
        {"model": "loans", "window_id": str(ID)},
    ),
    "retrain.erase": (jobs.EraseJob(erasure_id=ID), "default", {"erasure_id": str(ID)}),
    "reports.build": (jobs.ReportJob(report_id=ID), "default", {"report_id": str(ID)}),
}


@SQLITE_FIRST
@pytest.mark.parametrize("name", sorted({*STORED, *jobs.JOBS}))
def test_a_job_is_stored_under_its_name_with_its_fields_and_read_back(
    name: str, database: Database, clock: ManualClock
) -> None:
    payload, lane, fields = STORED[name]
    with database.write() as db:
        queue.enqueue(db, payload, now=clock.now())
    with database.read() as db:
        row = db.scalars(select(Job)).one()
    assert (row.name, row.lane, row.payload) == (name, lane, fields)
    assert jobs.JOBS[name].model_validate(row.payload) == payload


@SQLITE_FIRST
def test_an_explanation_does_not_wait_behind_a_training_run(database: Database, clock: ManualClock) -> None:
    with database.write() as db:
        queue.enqueue(db, jobs.RunJob(run_id=ID), now=clock.now(), lock_key="train:loans")
        queue.enqueue(db, jobs.ExplainJob(model="loans", event_id="e 1"), now=clock.now())
        taken = [queue.claim(db, worker=lane, now=clock.now(), lease_s=30, lanes=(lane,)) for lane in queue.LANES]
    assert [job and job.name for job in taken] == [None, "retrain.explain", "retrain.run"]


def test_a_consideration_that_no_window_caused_stores_no_window() -> None:
    stored = jobs.ConsiderJob(model="loans", cause="schedule")
    assert stored.model_dump(mode="json", exclude_none=True) == {"model": "loans", "cause": "schedule"}


def test_fields_that_another_release_wrote_are_ignored() -> None:
    stored = {"model": "loans", "from_a_newer_release": True}
    assert jobs.UpkeepJob.model_validate(stored) == jobs.UpkeepJob(model="loans")

"""Explanations of many decisions: what is there stays, what was erased drops out, errors are counted."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from sqlalchemy import select

from core.clock import ManualClock
from core.errors import InsufficientDataError, InvalidError
from core.jobs import ExplainBatchJob, ExplainJob
from core.queue import Job, Retry
from core.settings_train import TrainSettings
from monitor.errors import EventNotFoundError
from monitor.site import Site
from monitor.tables import Explanation
from retrain import jobs
from retrain.explain.requests import events_of, request
from retrain.tables import ExplanationBatch
from tests.retrain import world
from tests.retrain.train import tiny


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


def asked(site: Site, **more: object) -> ExplanationBatch:
    with site.database.write() as db:
        return request(site, db, world.NAME, actor="tester", **more)  # type: ignore[arg-type]  # as the cases name them


def read(site: Site, batch: UUID) -> ExplanationBatch:
    with site.database.read() as db:
        return db.get_one(ExplanationBatch, batch)


def records(site: Site) -> dict[str, Explanation]:
    with site.database.read() as db:
        return {row.event_id: row for row in db.scalars(select(Explanation))}


def test_a_batch_explains_what_is_left_and_counts_what_cannot_be(
    small: Site, tiny_base: Path, clock: ManualClock
) -> None:
    world.declare(small, world.spec(tiny_base))
    frame = world.traffic(40, tiny.OLD)
    odd = pl.col("event_id").is_in(["e3", "e4"])
    world.send(
        small, frame.with_columns(pl.when(odd).then(pl.lit("escalated")).otherwise("intent").alias("intent")), clock
    )
    jobs.explain(small, ExplainJob(model=world.NAME, event_id="e7"))
    before = records(small)["e7"]
    since, until = (world.START + timedelta(minutes=m) for m in (2, 38))
    batch = asked(small, since=since, until=until)
    assert (batch.total, batch.state) == (36, "queued")
    job = ExplainBatchJob(model=world.NAME, batch_id=batch.id)
    assert jobs.explain_batch(small, job) is None
    found, rows = read(small, batch.id), records(small)
    assert (found.state, found.explained, found.failed, found.withheld) == ("done", 34, {"unknown_answer": 2}, 0)
    assert set(rows) == {f"e{i}" for i in range(2, 38)} - {"e3", "e4"}
    assert rows["e7"].created_at == before.created_at
    assert max(row.additivity_residual for row in rows.values()) < 1e-4
    assert not list((small.settings.home_dir / "runs").glob("explain-*"))
    assert world.kinds(small).count("explanation.created") == 34
    assert jobs.explain_batch(small, job) is None  # again, without effect
    assert world.kinds(small).count("explanation.created") == 34


def test_a_batch_gives_way_to_one_who_waits_and_goes_on_later(small: Site, tiny_base: Path, clock: ManualClock) -> None:
    world.declare(small, world.spec(tiny_base))
    world.send(small, world.traffic(20, tiny.OLD), clock)
    batch = asked(small, sample=5)
    job = ExplainBatchJob(model=world.NAME, batch_id=batch.id)
    waiting = Job(
        name=ExplainJob.name, payload={}, lane="explain", state="queued", attempts=0, lost=0, run_at=clock.now(),
        created_at=clock.now(),
    )  # fmt: skip
    with small.database.write() as db:
        db.add(waiting)
    assert isinstance(jobs.explain_batch(small, job), Retry)
    with small.database.write() as db:
        db.delete(db.get_one(Job, waiting.id))
    assert jobs.explain_batch(small, job) is None
    assert read(small, batch.id).explained == len(records(small)) == 5


def test_a_sample_is_the_same_again_and_bad_requests_say_why(small: Site, tmp_path: Path, clock: ManualClock) -> None:
    world.declare(small, world.spec(world.fake_base(tmp_path / "base")))
    world.send(small, world.traffic(20, tiny.OLD), clock)
    one, other = (events_of(small, world.NAME, asked(small, sample=4, seed=s).asked, [])["event_id"] for s in (1, 2))
    again = events_of(small, world.NAME, asked(small, sample=4, seed=1).asked, [])["event_id"]
    assert one.to_list() == again.to_list() != other.to_list()
    with pytest.raises(InvalidError, match="exclude each other"):
        asked(small, sample=4, event_ids=["e1"])
    with pytest.raises(EventNotFoundError):
        asked(small, event_ids=["e1", "gone"])
    with pytest.raises(InsufficientDataError, match="no event lies in the period"):
        asked(small, since=world.START + timedelta(days=30))
    with pytest.raises(InvalidError, match="is not before"):
        asked(small, since=world.START, until=world.START)

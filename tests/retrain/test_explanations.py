"""Explanations of many decisions: what is there stays, what was erased drops out, errors are counted."""

import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from core.clock import ManualClock
from core.errors import AppError, BusyError, InsufficientDataError, IntegrityFailureError, InvalidError
from core.held_folder import is_abandoned
from core.jobs import ExplainBatchJob, ExplainJob
from core.queue import Job, Retry
from core.settings_train import TrainSettings
from governance.access.api_keys import first_admin
from monitor.errors import EventNotFoundError
from monitor.site import Site
from monitor.tables import Explanation
from retrain import jobs
from retrain.explain.basis import Basis
from retrain.explain.requests import events_of, request
from retrain.tables import ExplanationBatch
from retrain.train.weights import folder_digest
from tests.databases import SQLITE_ONLY
from tests.retrain import world
from tests.retrain.train import tiny
from tests.service import environment


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


@SQLITE_ONLY
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
    with pytest.raises(AppError, match="is none of its 4 labels") as alone:
        jobs.explain(small, ExplainJob(model=world.NAME, event_id="e3"))
    assert alone.value.code == "unknown_answer"
    assert not list((small.settings.home_dir / "runs").glob("explain-*"))
    assert world.kinds(small).count("explanation.created") == 34
    assert jobs.explain_batch(small, job) is None  # again, without effect
    assert world.kinds(small).count("explanation.created") == 34
    shown(small, batch.id)


def shown(site: Site, batch: UUID) -> None:
    """What the routes and the page say of it."""
    path = f"/api/v1/models/{world.NAME}"
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        told = client.get(f"{path}/explanations/{batch}").json()
        assert (told["state"], told["total"], told["explained"]) == ("done", 36, 34)
        assert told["failed"] == {"unknown_answer": 2}
        found = client.get(f"{path}/events/e7/explanation").json()
        record = found["explanation"]
        assert (found["state"], record["answer"], record["label"]) == ("ready", record["answer"], record["answer"])
        assert record["version_digest"].startswith("sha256:")
        assert found["additivity_residual"] == max(one["residual"] for one in record["outputs"])
        page = client.get(f"/models/{world.NAME}/event", params={"event_id": "e7"}, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert all(word["word"] in page.text for word in record["words"])
        wrong = client.get(f"{path}/explanations", params={"event_id": "e7", "opinions": "tarot"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid")
        more = client.get(f"{path}/explanations", params={"event_id": "e7", "opinions": "lime"})
        assert more.status_code == 202
        assert client.get(f"{path}/explanations/{UUID(int=0)}").status_code == 404
        wrongs: tuple[tuple[dict[str, object], int], ...] = (
            ({"sample": 0}, 422),
            ({"event_ids": []}, 422),
            ({"event_ids": ["gone"]}, 404),
            ({"from": "2090-01-01T00:00:00Z"}, 422),
        )
        for body, status in wrongs:
            assert client.post(f"{path}/explanations", json=body).status_code == status, body
        assert client.post(f"{path}/explanations", json={"sample": 2}).json()["total"] == 2


@SQLITE_ONLY
def test_a_base_whose_files_were_replaced_explains_nothing_until_they_are_restored(
    small: Site, tmp_path: Path, clock: ManualClock
) -> None:
    base = world.fake_base(tmp_path / "base")
    world.declare(small, world.spec(base))
    world.send(small, world.traffic(4, tiny.OLD), clock)
    with small.database.read() as db:
        registered = Basis.of(small, db, world.NAME, None).version.base_digest
    weights = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))  # as long as before
    with pytest.raises(IntegrityFailureError) as told:
        jobs.explain(small, ExplainJob(model=world.NAME, event_id="e1"))
    assert f"has digest {folder_digest(base)}; version" in told.value.message
    assert f"was registered with {registered}, so no reasons are issued" in told.value.message
    batch = asked(small)
    with pytest.raises(IntegrityFailureError):
        jobs.explain_batch(small, ExplainBatchJob(model=world.NAME, batch_id=batch.id))
    failed_events(small)
    assert not records(small)
    (base / "model.safetensors").write_bytes(weights)
    with small.database.read() as db:
        Basis.of(small, db, world.NAME, None).check_base()


@SQLITE_ONLY
def test_a_batch_that_can_be_tried_again_is_not_failed(small: Site, tmp_path: Path, clock: ManualClock) -> None:
    world.declare(small, world.spec(world.fake_base(tmp_path / "base")))
    world.send(small, world.traffic(4, tiny.OLD), clock)
    small.events.settle(world.NAME)
    batch = asked(small)
    [log] = small.settings.home_dir.glob(f"**/{world.NAME}/events/_delta_log")
    newest = max(int(file.stem) for file in log.glob("*.json"))
    (log / f"{newest + 1:020}.json").write_bytes(b"torn")
    with pytest.raises(BusyError):
        jobs.explain_batch(small, ExplainBatchJob(model=world.NAME, batch_id=batch.id))
    assert (read(small, batch.id).state, read(small, batch.id).error) == ("queued", None)


def failed_events(site: Site) -> None:
    """Each event of a batch that failed as a whole says why, and can be asked for again."""
    path = f"/api/v1/models/{world.NAME}/events/e2/explanation"
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        told = client.get(path)
        assert (told.status_code, told.json()["code"]) == (409, "explanation_failed")
        assert "integrity_failure: base model" in told.json()["detail"]
        assert client.get(path, params={"again": True}).status_code == 202


@pytest.mark.slow
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


_RUN = """
import sys
from datetime import datetime
from pathlib import Path
from uuid import UUID
from core import settings
from core.clock import ManualClock
from core.jobs import ExplainBatchJob
from monitor.site import open_site
from retrain import jobs

home, url, at, model, batch = sys.argv[1:]
loaded = settings.load({}, home=Path(home), db=settings.DbSettings.model_validate({"url": url}))
site = open_site(loaded, ManualClock(datetime.fromisoformat(at)))
jobs.explain_batch(site, ExplainBatchJob(model=model, batch_id=UUID(batch)))
"""


@pytest.mark.slow
@SQLITE_ONLY
def test_a_killed_worker_costs_only_the_file_it_was_at(small: Site, tiny_base: Path, clock: ManualClock) -> None:
    world.declare(small, world.spec(tiny_base))
    world.send(small, world.traffic(160, tiny.OLD), clock)
    batch = asked(small)
    url = small.database.engine.url.render_as_string(hide_password=False)
    arguments = [str(small.settings.home_dir), url, clock.now().isoformat(), world.NAME, str(batch.id)]
    with subprocess.Popen([sys.executable, "-c", _RUN, *arguments], env=environment()) as worker:
        while not records(small):
            assert worker.poll() is None
            time.sleep(0.05)
        worker.kill()
    before = {event: row.id for event, row in records(small).items()}
    assert 0 < len(before) < batch.total
    (folder,) = (small.settings.home_dir / "runs").glob("explain-*")
    assert is_abandoned(folder)  # an erasure removes it
    assert jobs.explain_batch(small, ExplainBatchJob(model=world.NAME, batch_id=batch.id)) is None
    after = records(small)
    assert len(after) == batch.total == read(small, batch.id).explained
    assert {event: after[event].id for event in before} == before
    assert world.kinds(small).count("explanation.created") == batch.total

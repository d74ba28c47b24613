"""What is broken in one model stops no other: not in an evaluation, a request for one, a flush or a page."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.processes import scheduler, worker
from api.processes.evaluation_requests import EvaluationRequester
from core.clock import ManualClock
from core.queue import Job
from governance.access.api_keys import first_admin
from monitor import service, store
from monitor.events import flush
from monitor.ingest.media import NDJSON
from monitor.ingest.otlp.receive import mappings_by_service
from monitor.ingest.receive import Body, receive
from monitor.lake.table import LakeTable
from monitor.site import Site
from monitor.tables import ReferenceRow, SpecRevision, Window
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import events_body, rows, spec

pytestmark = SQLITE_FIRST
BROKEN, SOUND = "broken", "sound"
MODELS = (BROKEN, SOUND)


def send(site: Site, start: int, count: int, every: timedelta = timedelta(minutes=1)) -> None:
    for model in MODELS:
        receive(site, model, "events", Body(events_body(rows(count, start=start, every=every)), NDJSON))


@pytest.fixture
def two(site: Site) -> Iterator[Site]:
    """Two models with a reference and a judged window; the first is the one to be broken."""
    with site.database.write() as db:
        for model in MODELS:
            service.apply_spec(site, db, spec(model=model), "tester")
    send(site, 0, 1250)
    EvaluationRequester(site, again_s=0.0).run_once()
    worker.drain(site)
    for model in MODELS:
        site.events.settle(model)
    yield site
    site.events.close()


def windows(site: Site, model: str) -> int:
    with site.database.read() as db:
        return len(db.scalars(select(Window).where(Window.model_id == store.model(db, model).id)).all())


def damage_files(site: Site) -> None:
    for path in lake(site).glob("events/date=*/*.parquet"):
        path.write_bytes(b"PAR1" + b"\x00" * 100)


def damage_spec(site: Site) -> None:
    with site.database.write() as db:
        for revision in db.scalars(
            select(SpecRevision).where(SpecRevision.model_id == store.model(db, BROKEN).id)
        ).all():
            revision.document = {"model": BROKEN, "monitors": 7}
    site.cache.__init__()  # type: ignore[misc]


def damage_reference(site: Site) -> None:
    with site.database.write() as db:
        row = db.scalars(select(ReferenceRow).where(ReferenceRow.model_id == store.model(db, BROKEN).id)).first()
        assert row is not None
        row.artifact = "sha256:" + "0" * 64


def lake(site: Site) -> Path:
    return site.settings.lake_dir / BROKEN


@pytest.mark.parametrize("damage", [damage_reference, damage_files, damage_spec])
def test_a_damaged_model_leaves_the_other_judged(two: Site, clock: ManualClock, damage: Callable[[Site], None]) -> None:
    before = windows(two, SOUND)
    assert before >= 1
    send(two, 1250, 250)
    damage(two)
    EvaluationRequester(two, again_s=0.0).run_once()
    scheduler.tick(two, "a")
    worker.drain(two)
    assert windows(two, SOUND) == before + 1
    with two.database.read() as db:
        ended = {job.payload.get("model"): job.error for job in db.scalars(select(Job).order_by(Job.created_at))}
    assert ended[SOUND] is None


class PanicError(BaseException):
    """As a library in Rust raises, which is no `Exception`."""


def test_a_table_that_cannot_be_flushed_leaves_the_other_flushed(two: Site) -> None:
    send(two, 1250, flush.FULL_COMMIT_ROWS, timedelta(microseconds=1))  # so many are flushed at once

    def table(model: str, kind: str) -> LakeTable:
        if model == BROKEN:
            raise PanicError
        return two.events.table(model, kind)

    waiting, flusher = two.events.unflushed.waiting, flush.Flusher(two.events.unflushed, table, two.events.locked)
    flusher.step()
    assert waiting((SOUND, "events")) == 0
    assert waiting((BROKEN, "events")) == flush.FULL_COMMIT_ROWS
    assert two.events.unflushed.held_bytes(BROKEN) > 0
    assert two.events.unflushed.held_bytes(SOUND) == 0


def test_a_spec_that_cannot_be_read_leaves_the_pages_and_the_spans_of_the_others(two: Site) -> None:
    with two.database.write() as db:
        service.apply_spec(two, db, spec(model=SOUND, traces={"service": "shop"}), "tester")
    damage_spec(two)
    with two.database.write() as db:
        (document,) = [r for r in db.scalars(select(SpecRevision)) if r.model_id == store.model(db, BROKEN).id]
        document.document = document.document | {"traces": {"service": "shop"}}
    assert [mapping.events.spec.model for mapping in mappings_by_service(two)["shop"]] == [SOUND]
    with TestClient(create_app(two), headers={"Authorization": f"Bearer {first_admin(two)}"}) as client:
        answer = client.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "its spec cannot be read" in answer.text
    assert answer.text.count("Rows, newest window") == 1  # the other's facts

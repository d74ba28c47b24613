"""Two processes that write the same thing at the same moment, and what a deletion may leave behind."""

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

import api.processes.worker  # noqa: F401 - every table that the service has
from core import queue
from core.db import Base
from core.jobs import EvaluateJob
from core.queue import Job
from governance.ledger.read import ledger_entries
from governance.verify.lake import DIGEST
from monitor import store
from monitor.ingest.otlp.given_up import give_up
from monitor.ingest.otlp.tables import LostText, SpanText
from monitor.ingest.otlp.unmapped import record_unmapped
from monitor.lake_tables import LakeRecord
from monitor.service import apply_spec
from monitor.site import Site
from monitor.tables import UnmappedService
from monitor.upkeep import digests
from tests.databases import POSTGRESQL_ONLY, at_the_same_moment
from tests.monitor.ingest.otlp.requests import span
from tests.monitor.ingest.otlp.test_mapping import spans
from tests.monitor.upkeep.test_digests import SPEC, send

ROOT = Path(__file__).parents[3]
OURS = ("core", "governance", "monitor", "retrain", "reports", "api")


@pytest.fixture
def model_id(site: Site) -> UUID:
    with site.database.write() as db:
        apply_spec(site, db, SPEC, "tester")
        return store.model(db, SPEC.model).id


@POSTGRESQL_ONLY
def test_a_table_is_recorded_for_the_first_time_by_both(site: Site, model_id: UUID) -> None:
    """An erasure and the hourly job, or two erasures of all models: the slower one failed with IntegrityError."""
    send(site, 0)
    other = LakeRecord(model=SPEC.model, table="events", version=-1, previous=None, checkpoints=[])
    at_the_same_moment(site.database, lambda db: db.add(other), lambda: digests.record(site, SPEC.model))
    with site.database.read() as db:
        assert [entry["body"]["rows"] for entry in ledger_entries(db, (DIGEST,))] == [10]


@POSTGRESQL_ONLY
def test_the_first_lost_texts_of_a_model_are_counted_by_both(site: Site, model_id: UUID) -> None:
    now = site.clock.now()
    with site.database.write() as db:
        times = {"columns": {}, "written": [], "times": {}, "received_at": now - timedelta(days=1)}
        db.add(SpanText(model_id=model_id, event_id="e", records=2, **times))
    other = LostText(model_id=model_id, records=3, last_at=now)
    at_the_same_moment(site.database, lambda db: db.add(other), lambda: give_up(site, now))
    with site.database.read() as db:
        assert db.scalars(select(LostText.records)).all() == [5]


@POSTGRESQL_ONLY
def test_the_first_spans_of_a_service_without_a_model_are_counted_by_both(site: Site) -> None:
    now = site.clock.now()
    other = UnmappedService(service="nobody", spans=3, sample={}, first_at=now, last_at=now)
    sent = spans(span(1), span(2))
    at_the_same_moment(
        site.database, lambda db: db.add(other), lambda: record_unmapped(site.database, "nobody", sent, now)
    )
    with site.database.read() as db:
        assert [row.spans for row in store.unmapped_services(db)] == [5]


@POSTGRESQL_ONLY
def test_a_stopped_job_is_put_off_while_the_same_is_asked_for(site: Site) -> None:
    now, job = site.clock.now(), EvaluateJob(model="m")
    with site.database.write() as db:
        queue.enqueue(db, job, now=now, dedupe_key="k")
    with site.database.write() as db:
        claimed = queue.claim(db, worker="w", now=now, lease_s=60)
    assert claimed is not None

    def put_off() -> None:
        with site.database.write() as db:
            assert queue.put_off(db, claimed, "stopped", worker="w", now=now) is not None

    at_the_same_moment(site.database, lambda db: queue.enqueue(db, job, now=now, dedupe_key="k"), put_off)
    with site.database.read() as db:
        assert db.execute(select(Job.id, Job.state)).all() == [(claimed.id, "queued")]


def _deleted() -> Iterator[str]:
    """Classes of which the source deletes rows: `delete(X)` by name, `db.delete(row)` by the test's own look."""
    for path in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "delete":
                yield ast.unparse(node.args[0])
            elif ast.unparse(node.func) == "db.delete":
                yield f"{path.relative_to(ROOT)}: {ast.unparse(node.args[0])}"


ONE_BY_ONE = {
    "monitor/confirm/drafts.py: left": "ArtifactDraft",
    "monitor/confirm/drafts.py: stored": "ArtifactDraft",
    "monitor/explore/views.py: found": "EventView",
    "monitor/upkeep/erase_derived.py: draft": "ArtifactDraft",
    "monitor/upkeep/erase_quotes.py: cause": "FairnessCause",
    "monitor/upkeep/erase_quotes.py: measured": "Measurement",
    "monitor/upkeep/erase_quotes.py: row": "AlertFinding",
    "monitor/upkeep/erase_quotes.py: verdict": "LaterVerdict",
    "monitor/windows/record.py: known.pop(key)": "Measurement",
    "retrain/erasure/traces.py: row": "Explanation",
    "retrain/explain/blocks.py: block": "ExplanationBlock",
    "retrain/reasons/over_time.py: stored": "Measurement",
    "retrain/runs/elsewhere.py: worked": "Lease",
    "retrain/runs/steps.py: row": "GateRow",
}


def test_nothing_refers_to_a_row_that_is_ever_deleted() -> None:
    """A row that something refers to cannot be deleted on either database. Models, windows and alerts stay."""
    tables = {
        mapper.class_.__name__: Base.metadata.tables[mapper.class_.__tablename__] for mapper in Base.registry.mappers
    }
    found = {ONE_BY_ONE.get(name, name) for name in _deleted()}
    assert found <= set(tables), "add the new `db.delete` to ONE_BY_ONE"
    referred = {key.column.table.name for table in tables.values() for key in table.foreign_keys}
    assert not referred & {tables[name].name for name in found}

"""What Prometheus scrapes: the page about metrics lists exactly what is exposed, and the figures are right."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from api.app import create_app
from core import queue
from core.clock import ManualClock
from core.jobs import JOBS, RunJob
from core.queue import Job
from governance.access.api_keys import first_admin
from monitor import store
from monitor.alerts.incidents import incident_for
from monitor.ingest.otlp.tables import SpanCount
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from monitor.tables import Alert
from retrain.tables import Run, TriggerDecision
from tests.monitor.ingest.otlp.requests import request, span
from tests.server.conftest import SPEC, event

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.M)
EVENTS = "/api/v1/models/support-intents/events"
Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    """Of an application with a channel whose background threads do not run: nothing is flushed or judged by itself."""
    channels = {"ops": SecretStr("slack://a/b/c")}
    told = replace(site, settings=site.settings.model_copy(update={"channels": channels}))
    client = TestClient(app := create_app(told), headers={"Authorization": f"Bearer {first_admin(site)}"})
    assert client.put("/api/v1/models/support-intents", json=SPEC).status_code == 201
    yield client
    app.state.intake.stop()


def row(event_id: str, **more: Any) -> dict[str, Any]:
    return event(event_id, **{"ts": "2026-01-04T12:00:00Z"} | more)


def figures(client: TestClient) -> Figures:
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Figures, metric: str, /, **labels: str) -> float:
    return found[metric, frozenset(labels.items())]


def model_id(site: Site) -> UUID:
    with site.database.read() as db:
        return store.model(db, "support-intents").id


def end_job(site: Site, name: str, *, waited_s: float, error: str | None) -> None:
    now = site.clock.now()
    with site.database.write() as db:
        db.add(Job(
            name=name, lane=JOBS[name].lane, payload={}, state="failed" if error else "done", error=error,
            created_at=now, run_at=now - timedelta(seconds=waited_s), finished_at=now, attempts=1, lost=0,
        ))  # fmt: skip


def add_run(site: Site, state: str, metrics: dict[str, Any] | None) -> None:
    now, model = site.clock.now(), model_id(site)
    with site.database.write() as db:
        decision = TriggerDecision(
            model_id=model, spec_revision=1, cause="manual", fired=True, reason="asked", triggers=[], blocked_by=[],
            at=now,
        )  # fmt: skip
        db.add(decision)
        db.flush()
        db.add(Run(
            model_id=model, decision_id=decision.id, spec_revision=1, state=state, champion_version="v1", attempts=1,
            approvals=[], created_at=now, **({} if metrics is None else {"metrics": metrics}),
        ))  # fmt: skip


def test_the_page_lists_every_metric_with_its_type_and_labels(site: Site, client: TestClient) -> None:
    assert client.post(EVENTS, json=[row("e1")]).json()["accepted"] == 1
    site.events.settle("support-intents")
    end_job(site, "monitor.evaluate", waited_s=1, error=None)
    add_run(site, "promoted", {"train_seconds": 12.5})
    with site.database.write() as db:
        model, now = store.model(db, "support-intents").id, site.clock.now()
        incident = incident_for(db, model, from_ts=now, to_ts=now, headline="drifted", severity="warning", now=now)
        db.add(SpanCount(service="shop-bot", result="stored", spans=1, last_at=now))
        db.add(Alert(
            model_id=model, incident_id=incident.id, monitor="drift", metric="psi", sentence="drifted", opened_at=now,
        ))  # fmt: skip
    exposed = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = (family.type, labels)
    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE)}
    assert exposed == listed


def test_messages_are_counted_by_channel_and_state_and_the_oldest_one_that_is_due_is_timed(
    site: Site, clock: ManualClock, client: TestClient
) -> None:
    assert value(figures(client), "assay_messages", channel="ops", state="dead") == 0
    now = site.clock.now()
    with site.database.write() as db:
        for minutes, state in ((-2, "waiting"), (-5, "retrying"), (60, "waiting"), (-9, "dead")):
            db.add(OutboxMessage(
                channel="ops", thread=f"incident:{minutes}", severity="warning", items=[], state=state,
                run_at=now + timedelta(minutes=minutes), created_at=now,
            ))  # fmt: skip
    found = figures(client)
    assert value(found, "assay_messages", channel="ops", state="dead") == 1
    assert value(found, "assay_messages", channel="ops", state="waiting") == 2
    assert value(found, "assay_message_age_seconds", channel="ops") == 300


def test_ingest_is_counted_by_route_format_and_result(client: TestClient) -> None:
    assert value(figures(client), "assay_ingest_rows_total", route="events", result="accepted") == 0
    client.post(EVENTS, json=[row("e1"), row("e1"), row("e2", confidence="high")])
    client.post("/api/v1/models/support-intents/outcomes", json=[{"event_id": "e1", "intent_true": "x"}])
    client.post(
        "/v1/traces", content=request(span(1)).SerializeToString(), headers={"Content-Type": "application/x-protobuf"}
    )
    refused = client.post("/api/v1/models/none/events", json=[row("e1")])
    assert refused.status_code == 404
    after = figures(client)
    rows = {
        r: value(after, "assay_ingest_rows_total", route="events", result=r)
        for r in ("accepted", "duplicate", "rejected")
    }
    assert rows == {"accepted": 1, "duplicate": 1, "rejected": 1}
    assert value(after, "assay_ingest_rows_total", route="outcomes", result="accepted") == 1
    assert value(after, "assay_ingest_rows_total", route="traces", result="rejected") == 1
    counts = {k: v for k, v in after.items() if k[0] == "assay_ingest_seconds_count" and v}
    assert {(dict(labels)["route"], dict(labels)["format"], v) for (_, labels), v in counts.items()} == {
        ("events", "json", 1.0), ("outcomes", "json", 1.0), ("traces", "protobuf", 1.0),
    }  # fmt: skip
    assert 0 < value(after, "assay_ingest_seconds_sum", route="events", format="json") < 60


def test_a_flush_is_measured_once_with_the_wait_of_its_oldest_row(site: Site, client: TestClient) -> None:
    client.post(EVENTS, json=[row("e1")])
    client.post(EVENTS, json=[row("e2")])
    waiting = figures(client)
    assert value(waiting, "assay_unflushed_bytes") > 0
    assert value(waiting, "assay_unflushed_seconds") > 0
    assert value(waiting, "assay_flush_lag_seconds_count") == 0
    site.events.settle("support-intents")
    flushed = figures(client)
    assert value(flushed, "assay_flush_lag_seconds_count") == 1
    assert value(flushed, "assay_flush_lag_seconds_sum") >= value(waiting, "assay_unflushed_seconds")
    assert (value(flushed, "assay_unflushed_bytes"), value(flushed, "assay_unflushed_seconds")) == (0, 0)
    assert value(figures(client), "assay_flush_lag_seconds_count") == 1


def test_jobs_that_ended_are_counted_once_and_remembered_when_the_table_forgets_them(
    site: Site, clock: ManualClock, client: TestClient
) -> None:
    name = "monitor.evaluate"
    for _ in range(3):
        end_job(site, name, waited_s=7, error="ValueError: no")
        end_job(site, name, waited_s=7, error=None)
        clock.move_to(clock.now() + timedelta(seconds=4))
        found = figures(client)
    assert value(found, "assay_job_failures_total", name=name) == 3
    assert value(found, "assay_job_seconds_count", name=name) == 6
    assert value(found, "assay_job_seconds_sum", name=name) == pytest.approx(42)
    assert value(found, "assay_job_failures_total", name="retrain.run") == 0
    clock.move_to(clock.now() + timedelta(hours=2))
    with site.database.write() as db:
        queue.forget(db, done_before=clock.now(), failed_before=clock.now())
    assert value(figures(client), "assay_job_seconds_count", name=name) == 6


def test_the_age_of_the_queue_is_that_of_the_longest_waiting_due_job(
    site: Site, clock: ManualClock, client: TestClient
) -> None:
    now = clock.now()
    with site.database.write() as db:
        for delay_s in (0, 60):
            queue.enqueue(db, RunJob(run_id=uuid4()), now=now, run_at=now + timedelta(seconds=delay_s))
    clock.move_to(clock.now() + timedelta(seconds=30))
    found = figures(client)
    assert value(found, "assay_queue_age_seconds", lane="train", name="retrain.run") == 30
    assert value(found, "assay_queue_age_seconds", lane="default", name="monitor.digest") == 0
    assert value(found, "assay_jobs", name="retrain.run", state="queued") == 2


def test_runs_are_counted_by_state_and_their_training_seconds_are_read_once(site: Site, client: TestClient) -> None:
    add_run(site, "promoted", {"train_seconds": 100.0, "loss": [1.0]})
    add_run(site, "failed", None)
    add_run(site, "training", None)
    for _ in range(2):
        found = figures(client)
    assert value(found, "assay_runs", model="support-intents", state="promoted") == 1
    assert value(found, "assay_runs", model="support-intents", state="failed") == 1
    assert value(found, "assay_training_seconds_count") == 1
    assert value(found, "assay_training_seconds_sum") == 100
    add_run(site, "rejected", {"train_seconds": 20.0})
    assert value(figures(client), "assay_training_seconds_sum") == 120


def test_every_process_has_a_registry_of_its_own(site: Site, client: TestClient) -> None:
    client.post(EVENTS, json=[row("e1")])
    other = TestClient(create_app(site), headers=dict(client.headers))
    assert value(figures(other), "assay_ingest_rows_total", route="events", result="accepted") == 0
    assert value(figures(other), "assay_events", model="support-intents") == 1

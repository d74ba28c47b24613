"""A model of models: each part has a policy of its own, and only the part that fails is retrained, on its own rows."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.clock import ManualClock
from core.jobs import ConsiderJob
from core.queue import Job
from monitor import service
from monitor.ingest.media import IDENTITY, PROTOBUF
from monitor.ingest.otlp.receive import receive_traces
from monitor.site import Site
from monitor.spec.parse import SpecError, parse_spec
from monitor.store import model as model_named
from monitor.tables import Measurement, Window
from monitor.windows import evaluate
from retrain import jobs, store
from retrain.curate import service as curation
from retrain.registry.versions import ensure_base_version
from retrain.tables import TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.monitor.ingest.otlp.requests import START, request, span
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
AGENTS = ("billing", "delivery")
MINUTE_NS = 60_000_000_000


def spec(base: Path, agent: str | None, **retrain: Any) -> dict[str, Any]:
    document = world.spec(base, **retrain).document
    where = {"gen_ai.agent.name": agent} if agent else {}
    columns = {
        "text": {"role": "input", "type": "text"}, "intent": {"role": "prediction", "type": "category"},
        "intent_true": {"role": "outcome", "type": "category"},
    }  # fmt: skip
    traces = {"service": "desk", "where": where, "columns": {"text": "app.text", "intent": "app.intent"}}
    changes: dict[str, Any] = {"model": f"desk-{agent}" if agent else "desk", "columns": columns, "traces": traces}
    if agent is None:
        changes["columns"] = columns | {"agent": {"role": "agent", "type": "category"}}
        changes["retrain"] = None
    else:
        changes["part_of"] = {"model": "desk", "agent": agent}
        changes["retrain"] = document["retrain"] | {"when": ["drift", "kpi", "whole"]}
    return document | changes


@pytest.fixture
def desk(site: Site, clock: ManualClock, tmp_path: Path) -> Site:
    """The whole and its two parts, and 240 labelled calls of one service: each goes to the whole and to its part."""
    base = world.fake_base(tmp_path / "base")
    for agent in (None, *AGENTS):
        declared = parse_spec(spec(base, agent), new=True)
        with site.database.write() as db:
            service.apply_spec(site, db, declared, "tester")
            ensure_base_version(site, db, model_named(db, declared.model), declared, "tester")
    drawn = tiny.messages(tiny.OLD, 240, seed=3).to_dicts()
    spans = [
        span(
            i + 1,
            {"gen_ai.agent.name": AGENTS[i % 2], "app.text": f"{AGENTS[i % 2]}: {row['text']} number {i}",
             "app.intent": row["label"]},
            start=START + i * MINUTE_NS, end=START + i * MINUTE_NS + 1, trace=f"{i + 1:032x}",
        )
        for i, row in enumerate(drawn)
    ]  # fmt: skip
    clock.move_to(world.START + timedelta(minutes=240))
    body = request(*spans, service="desk").SerializeToString()
    assert receive_traces(site, body, PROTOBUF, IDENTITY).rejected == 0
    for name in ("desk", *(f"desk-{agent}" for agent in AGENTS)):
        events = site.events.events(name, columns=["event_id", "intent"])
        truth = events.select("event_id", intent_true="intent")
        with site.database.read() as db:
            declared = service.current_spec(site, db, name).spec
        site.events.append_outcomes(declared, truth, now=clock.now())
    return site


def consider(site: Site) -> dict[str, TriggerDecision]:
    """The decision about each part that a job of its own makes."""
    assert isinstance(site.clock, ManualClock)
    site.clock.move_to(site.clock.now() + timedelta(seconds=1))
    found = {}
    for agent in AGENTS:
        jobs.consider(site, ConsiderJob(model=f"desk-{agent}", cause="window"))
        with site.database.read() as db:
            found[agent] = store.decisions(db, model_named(db, f"desk-{agent}").id)[0]
    return found


def test_drift_of_one_part_starts_its_run_alone_with_its_rows_alone(desk: Site) -> None:
    assert [desk.events.extent(name).rows for name in ("desk", "desk-billing", "desk-delivery")] == [240, 120, 120]
    baseline = world.baseline_ends(desk, 0, "desk-billing")
    world.window(desk, baseline, -2, "alarm", name="desk-billing")
    found = consider(desk)
    assert (found["billing"].fired, found["delivery"].fired) == (True, False)
    with desk.database.read() as db:
        [run] = store.runs(db, model_named(db, "desk-billing").id)
        assert store.runs(db, model_named(db, "desk-delivery").id) == []
    prepared = curation.prepare(desk, run.id)
    texts = [text for role in ("train", "eval") for text in getattr(prepared.curated, role).rows["text"]]
    assert len(texts) > 100
    assert all(text.startswith("billing: ") for text in texts)


def blamed(site: Site, agent: str) -> None:
    """An alarm of the whole's accuracy, in which one agent got worse."""
    baseline = world.baseline_ends(site, 0, "desk")
    with site.database.write() as db:
        model, now = model_named(db, "desk"), site.clock.now()
        window = Window(
            model_id=model.id, baseline_id=baseline, spec_revision=1, scale="100 rows", number=0, from_seq=0,
            to_seq=100, from_ts=now, to_ts=now, rows=100, versions=["v1"], verdict="alarm", sentence="a sentence",
            decision={}, events_version=0, closed_at=now, refreshed_at=now,
        )  # fmt: skip
        db.add(window)
        db.flush()
        db.add(
            Measurement(
                model_id=model.id, window_id=window.id, monitor="kpi", metric="accuracy", value=0.6, unit="share",
                limit=0.8, alarm=True, n=100, details={"agents": {"column": "agent", "parts": [], "degraded": [agent]}},
                from_ts=now, to_ts=now, computed_at=now,
            )
        )  # fmt: skip


def test_an_alarm_of_the_whole_starts_the_run_of_the_part_that_got_worse(desk: Site) -> None:
    blamed(desk, "delivery")
    found = consider(desk)
    assert (found["billing"].fired, found["delivery"].fired) == (False, True)
    assert "delivery got worse in desk: accuracy of 100 rows is 0.6, limit 0.8" in found["delivery"].reason
    assert "whole: billing is not what got worse in desk (delivery)" in found["billing"].reason


def test_a_part_whose_name_is_written_decomposed_is_the_agent_that_got_worse(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    """As an editor on macOS may write it; agents of events are levels, which are composed."""
    base = world.fake_base(tmp_path / "base")
    part = spec(base, "billing") | {"part_of": {"model": "desk", "agent": "retoure\u0301"}}
    for document in (spec(base, None), part):
        declared = parse_spec(document, new=True)
        with site.database.write() as db:
            service.apply_spec(site, db, declared, "tester")
            ensure_base_version(site, db, model_named(db, declared.model), declared, "tester")
    blamed(site, "retour\u00e9")
    jobs.consider(site, ConsiderJob(model="desk-billing", cause="window"))
    with site.database.read() as db:
        [decision] = store.decisions(db, model_named(db, "desk-billing").id)
    assert "retour\u00e9 got worse in desk: accuracy of 100 rows is 0.6, limit 0.8" in decision.reason


def test_an_evaluation_of_the_whole_asks_for_a_consideration_of_its_parts(desk: Site) -> None:
    with desk.database.read() as db:
        current = service.current_spec(desk, db, "desk")
    evaluate._consider_retraining(desk, current, [world.baseline_ends(desk, 0, "desk")])
    with desk.database.read() as db:
        named = select(Job.payload["model"].as_string()).where(Job.name == ConsiderJob.name)
        waiting = sorted(db.scalars(named))
    assert waiting == ["desk-billing", "desk-delivery"]


def test_a_part_that_another_model_is_already_is_refused_at_apply(desk: Site, tmp_path: Path) -> None:
    again = spec(tmp_path / "base", "billing") | {"model": "desk-billing-2"}
    refusal = pytest.raises(SpecError, match=r"part_of\.agent: is 'billing', and desk-billing is that part of desk")
    with refusal, desk.database.write() as db:
        service.apply_spec(desk, db, parse_spec(again, new=True), "tester")
    other = again | {"part_of": {"model": "desk", "agent": "returns"}}
    with desk.database.write() as db:
        assert service.apply_spec(desk, db, parse_spec(other, new=True), "tester").outcome == "created"


def test_a_whole_that_is_not_declared_is_said_and_a_part_of_itself_refused(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    document = spec(world.fake_base(tmp_path / "base"), "billing")
    with pytest.raises(SpecError, match="the model itself; name the whole"):
        parse_spec(document | {"part_of": {"model": "desk-billing", "agent": "billing"}}, new=True)
    with pytest.raises(SpecError, match="has whole, but the model is no part of another"):
        parse_spec({**document, "part_of": None}, new=True)
    declared = parse_spec(document, new=True)
    with site.database.write() as db:
        service.apply_spec(site, db, declared, "tester")
        ensure_base_version(site, db, model_named(db, declared.model), declared, "tester")
    jobs.consider(site, ConsiderJob(model="desk-billing", cause="window"))
    with site.database.read() as db:
        [decision] = store.decisions(db, model_named(db, "desk-billing").id)
    assert "whole: the whole, desk, is no model here; declare it" in decision.reason

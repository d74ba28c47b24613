"""A language model learns which of two answers people prefer: from declared pairs to a signed champion."""

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Model
from retrain import jobs, store
from retrain.curate.service import register_dataset
from retrain.registry.champion import champion_of
from retrain.runs.consider import consider_policy
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.pairs import NEW, OLD, events, spec
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


def registered(site: Site, model: Model, declared: ModelSpec) -> None:
    """Golden pairs, and an answer that nobody writes."""
    drawn = [tiny.pairs(5, seed=9, answer=style)["completion"] for style in (NEW, OLD)]
    pairs = tiny.pairs(5, seed=9).select("prompt").with_columns(chosen=drawn[0], rejected=drawn[1])
    written = pl.DataFrame({"prompt": ["my pony is gone"], "completion": ["we are sorry"]})
    for name, frame in (("golden-pairs", pairs), ("golden-written", written)):
        content = io.BytesIO()
        frame.write_parquet(content)
        with site.database.write() as db:
            register_dataset(
                site, db, model, declared, 1, name=name, role="golden", content=content.getvalue(), source="a person",
                synthetic=False, actor="ann",
            )  # fmt: skip


def test_a_language_model_learns_from_declared_pairs_to_a_signed_champion(
    small: Site, tiny_causal_base: Path, clock: ManualClock
) -> None:
    document = spec(tiny_causal_base).document
    document["retrain"]["gates"] = ["no_regression", "forgetting", "integrity", "golden"]
    document["retrain"]["envelope"]["golden_share"] = 0.5
    declared = parse_spec(document)
    model = world.declare(small, declared)
    registered(small, model, declared)
    for first in (0, 250):
        frame = events(250, first)
        clock.move_to(world.START + timedelta(minutes=first + 250))
        small.events.append_events(declared, frame.drop("better"), now=clock.now())
        small.events.append_outcomes(declared, frame.select("event_id", "better"), now=clock.now())
    world.baseline_ends(small, 250)
    with small.database.write() as db:
        considered = consider_policy(small, db, world.NAME, cause="window")
    assert considered.run is not None, considered.decision.reason
    assert considered.decision.reason.startswith("outcomes: 250 labelled events since the last training set")
    run_id = considered.run.id
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    with small.database.read() as db:
        gates = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run_id)}
        datasets = store.run_datasets(db, run_id)
    assert (run.state, run.error) == ("promoted", None), gates
    assert run.metrics is not None
    assert run.evaluation is not None
    assert run.metrics["reference"]["of"] == "champion"
    assert datasets["train"].provenance["dropped"]["neither answer is preferred, or no text"] == 50
    assert gates["golden"] == ("pass", gates["golden"][1])
    assert gates["golden"][1].startswith("5 of 6 golden rows are right")
    assert "golden-written:0 is the golden text, answered with another one" in gates["golden"][1]
    assert run.evaluation["golden"]["rows"] == 6
    named = {(e["model"], e["rows"], e["name"]): e["value"] for e in run.evaluation["evaluations"]}
    assert named["champion", "new", "preference_accuracy"] < 0.2
    assert named["challenger", "new", "preference_accuracy"] > 0.9
    assert named["challenger", "new", "perplexity"] < named["champion", "new", "perplexity"]
    assert "preference accuracy" in gates["no_regression"][1]
    assert "log-probability per token" in gates["no_regression"][1]
    with small.database.read() as db:
        champion = champion_of(small, db, world.NAME)
    world.signed(small, champion)
    adapter = small.artifacts.path(str(champion.adapter_digest))
    assert not [p for p in adapter.rglob("*") if p.is_dir()]  # no folder of a reference adapter is shipped

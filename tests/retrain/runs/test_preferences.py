"""A language model learns which of two answers people prefer: from declared pairs to a signed champion."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from retrain import jobs, store
from retrain.registry.champion import champion_of
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.pairs import events, spec

pytestmark = SQLITE_FIRST


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


def test_a_language_model_learns_from_declared_pairs_to_a_signed_champion(
    small: Site, tiny_causal_base: Path, clock: ManualClock
) -> None:
    declared = spec(tiny_causal_base)
    world.declare(small, declared)
    for first in (0, 250):
        frame = events(250, first)
        clock.move_to(world.START + timedelta(minutes=first + 250))
        small.events.append_events(declared, frame.drop("better"), now=clock.now())
        small.events.append_outcomes(declared, frame.select("event_id", "better"), now=clock.now())
    world.baseline_ends(small, 250)
    run_id = world.start(small)
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

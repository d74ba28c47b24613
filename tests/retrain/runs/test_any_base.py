"""A base without a usable head, trained whole, through the loop from its spec to the gates."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from retrain import jobs, store
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.mark.slow
def test_a_base_without_a_head_is_trained_whole_and_judged_by_a_constant(
    site: Site, clock: ManualClock, tiny_causal_base: Path
) -> None:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    site = replace(site, settings=site.settings.model_copy(update={"train": train}))
    recipe = {"method": "full", "learning_rate": 1e-3, "epochs": 3, "max_length": 64}
    world.declare(site, world.spec(tiny_causal_base, recipe=recipe))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    run_id = world.start(site)
    with site.database.read() as db:
        run = store.run(db, run_id)
        assert store.version(db, run.model_id, "v1", "support-intents").labels is None
    jobs.run(site, RunJob(run_id=run_id))
    done = world.read(site, run_id)
    assert done.evaluation is not None, (done.state, done.outside, done.error)
    probe = done.evaluation["integrity"]["probe"]
    assert "no usable head" in probe["champion_baseline"]
    assert probe["challenger_adapter_on_off"] > 0
    with site.database.read() as db:
        judged = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run_id)}
    assert judged["integrity"][0] == "pass", judged["integrity"]
    assert judged["no_regression"][0] == "pass", judged["no_regression"]

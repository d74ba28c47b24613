"""A run whose spec names the gates that ask more of the models than the held-out rows."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from retrain import jobs, store
from retrain.curate.service import register_dataset
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
NAMED = ("golden", "calibration", "robustness", "latency")


@pytest.mark.slow  # tests/retrain/evals/test_run.py asks the models, tests/retrain/gates/ judges their answers
def test_named_gates_are_judged_and_golden_texts_are_never_learned(
    site: Site, tiny_base: Path, clock: ManualClock
) -> None:
    small = replace(
        site, settings=site.settings.model_copy(update={"train": TrainSettings(device="cpu", threads=1, attempts=1)})
    )
    envelope = {"max_gpu_hours": 0.1, "golden_share": 0.5, "max_latency_ratio": 20, "robustness_margin": 0.9}
    declared = world.spec(tiny_base, gates=["no_regression", *NAMED], envelope={**envelope, "calibration_margin": 0.9})
    model = world.declare(small, declared)
    world.send(small, world.traffic(250, tiny.OLD), clock)
    later = world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250)
    world.send(small, later, clock)
    world.baseline_ends(small, 250)
    golden = io.BytesIO()
    rows = later.select("text", "intent_true").head(20)
    rows.write_parquet(golden)
    with small.database.write() as db:
        register_dataset(
            small, db, model, declared, 1, name="core", role="golden", content=golden.getvalue(), source="a person",
            synthetic=False, actor="ann",
        )  # fmt: skip
    run_id = world.start(small)
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    with small.database.read() as db:
        found = {g.gate: g for g in store.gates(db, run_id)}
        dropped = {role: d.provenance["dropped"] for role, d in store.run_datasets(db, run_id).items()}
    assert (run.state, run.error) == ("promoted", None)
    assert {name: found[name].verdict for name in NAMED} == dict.fromkeys(NAMED, "pass")
    assert found["golden"].evidence["rows"] == 20
    assert found["no_regression"].evidence["power"]["rows"] == found["no_regression"].evidence["n"]
    assert dropped["train"]["text is golden"] >= 20

"""`serve: merged` and `start: best` through the loop: what is judged, signed, pulled and gone on from."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.ledger.read import ledger_rows
from monitor import service as monitor
from monitor.site import Site
from reports.facts.runs import training
from retrain import jobs, store
from retrain.registry.archive import archive_of
from retrain.registry.card import card_of, markdown
from retrain.registry.champion import champion_of
from retrain.registry.promotion import roll_back
from retrain.runs.again import promote_again
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def merged(site: Site, clock: ManualClock, tiny_base: Path) -> tuple[Site, UUID]:
    """A site whose first run is promoted: of a recipe that would try both starts, and is served merged."""
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    site = replace(site, settings=site.settings.model_copy(update={"train": train}))
    world.declare(site, world.spec(tiny_base, recipe={"start": "best", "serve": "merged"}))
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)
    run_id = world.start(site)
    jobs.run(site, RunJob(run_id=run_id))
    return site, run_id


def trained(site: Site, run_id: UUID) -> dict[str, object]:
    """The body of the ledger entry that says what a run trained."""
    with site.database.read() as db:
        rows = [json.loads(r.entry) for r in ledger_rows(db, limit=1000, subject=f"run:{run_id}")]
    found: dict[str, object] = next(r["body"] for r in rows if r["kind"] == "run.trained")
    return found


def test_the_merged_model_is_what_gates_judge_and_serving_pulls(merged: tuple[Site, UUID]) -> None:
    site, run_id = merged
    run = world.read(site, run_id)
    assert (run.state, run.error) == ("promoted", None), run.outside
    assert run.metrics is not None
    assert run.evaluation is not None
    reason = "the champion v1 is the base itself"
    assert run.metrics["starts"] == {"chosen": "fresh", "reason": reason}
    assert run.metrics["merged"]["dtype"] == "float32"
    body = trained(site, run_id)
    assert body["starts"] == run.metrics["starts"]
    assert body["merged"] == run.metrics["merged"]
    told = dict(training(run.metrics))
    assert told["Start"] == f"from the base: {reason}"
    assert told["Served as"].startswith("one model in float32, ")
    with site.database.read() as db:
        champion = champion_of(site, db, world.NAME)
        card = card_of(site, db, world.NAME, "v2")
        gate = {g.gate: g.evidence for g in store.gates(db, run_id)}["integrity"]
    assert champion.artifact == "merged"
    world.signed(site, champion)
    folder = site.artifacts.path(str(champion.adapter_digest))
    assert gate["adapter_digest"] == champion.adapter_digest
    assert run.evaluation["integrity"]["adapters"]["challenger"]["updates"] == 0  # a whole model, no updates beside it
    assert {"model.safetensors", "config.json", "tokenizer.json", "labels.json"} <= {p.name for p in folder.iterdir()}
    archive = archive_of(site, str(champion.adapter_digest))
    assert hashlib.sha256(b"".join(archive.parts())).hexdigest() == archive.sha256
    assert card["serving"]["whole"] == {"model": "merged", "dtype": "float32", "adapter": "adapter/"}
    assert card["serving"]["peft"]["loads"]
    assert "One model in float32, the adapter merged into it" in markdown(card)


@pytest.mark.slow
def test_the_next_run_goes_on_from_the_adapter_beside_it_or_afresh_whichever_is_better(
    merged: tuple[Site, UUID], clock: ManualClock, tiny_base: Path
) -> None:
    site, _ = merged
    declared = world.spec(tiny_base, recipe={"start": "best"})
    with site.database.write() as db:
        monitor.apply_spec(site, db, declared, "tester")
    world.send(site, world.traffic(400, (*tiny.OLD, *tiny.NEW), first=600), clock)
    run_id = world.start(site)
    jobs.run(site, RunJob(run_id=run_id))
    run = world.read(site, run_id)
    assert run.metrics is not None, (run.error, run.outside)
    starts = run.metrics["starts"]
    assert {"rows", "accuracy", "loss", "train_seconds"} <= starts["champion"].keys() & starts["fresh"].keys()
    assert starts["champion"]["rows"] >= 20
    assert trained(site, run_id)["starts"] == starts
    assert run.evaluation is not None
    with site.database.read() as db:
        assert "starts" in card_of(site, db, world.NAME, "v3")["training"]
    if run.state != "promoted":  # as good as the champion on so few rows: either end is truthful
        return
    with site.database.write() as db:
        assert roll_back(site, db, world.NAME, "tester", "back").version == "v2"
    again_by = world.key(site, "bob")
    with site.database.write() as db:
        again = promote_again(site, db, world.NAME, "v3", again_by, "wanted again").id
    jobs.run(site, RunJob(run_id=again))
    assert world.read(site, again).evaluation is not None or world.read(site, again).error

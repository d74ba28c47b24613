"""A smaller base learns from the champion, from the spec to a signed champion; and champions that cannot teach."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.ledger.read import ledger_entries
from monitor.site import Site
from monitor.spec.parse import parse_spec
from retrain import jobs, store
from retrain.envelope import Plan
from retrain.errors import RecipeError
from retrain.registry.card import card_of
from retrain.registry.versions import check_applicable
from retrain.runs.consider import start_manual
from retrain.tables import ModelVersion
from retrain.teaching import check_teacher
from retrain.train.tabular.files import PIPELINE
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST
GATES = ["no_regression", "fairness", "forgetting", "integrity", "latency"]


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another base, which knows two of the champion's labels a little."""
    from retrain.train.demo_base import make_base

    folder = tmp_path_factory.mktemp("student")
    make_base(tiny.base_config(folder, tiny.messages(tiny.OLD[:2], 80, seed=3), epochs=1, seed=7))
    return folder / "base"


def sent(site: Site, clock: ManualClock) -> None:
    world.send(site, world.traffic(250, tiny.OLD), clock)
    world.send(site, world.traffic(350, (*tiny.OLD, *tiny.NEW), first=250), clock)
    world.baseline_ends(site, 250)


def test_a_smaller_base_learns_from_the_champion_and_takes_its_place(
    small: Site, tiny_base: Path, student: Path, clock: ManualClock
) -> None:
    world.declare(small, world.spec(tiny_base))
    taught = {"method": "lora", "teacher": "champion", "teacher_weight": 0.6, "max_length": 64}
    limits = {
        "max_latency_ratio": 20,
        "max_gpu_hours": 0.1,
        "base_models": [str(student)],
        "hyperparameters": {"temperature": [1, 4]},
    }
    world.declare(small, world.spec(student, recipe=taught, envelope=limits, gates=GATES))
    sent(small, clock)
    run_id = world.start(small)
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    assert (run.state, run.error) == ("promoted", None), (run.error, run.outside)
    with small.database.read() as db:
        gates = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run_id)}
        first = store.version(db, run.model_id, "v1", world.NAME)
        champion, origin = store.champion(db, run.model_id), store.run_datasets(db, run_id)["train"].provenance
        card = card_of(small, db, world.NAME, "v2")
        entries = ledger_entries(db, ["run.started", "run.trained"])
    assert (run.state, run.error) == ("promoted", None), gates
    assert champion is not None
    assert (champion.version, champion.base_model) == ("v2", str(student))
    named = {"version": "v1", "base_model": str(tiny_base), "base_digest": first.base_digest, "adapter": None}
    assert run.metrics is not None
    assert {name: run.metrics["teacher"][name] for name in named} == named
    assert run.metrics["teacher"]["labels_of_outcomes_alone"] == sorted(tiny.NEW)
    assert origin["teacher"] == named
    assert card["training"]["teacher"]["base_digest"] == first.base_digest
    told = [entry["body"]["teacher"] for entry in entries if "teacher" in entry.get("body", {})]
    assert [one["base_digest"] for one in told] == [first.base_digest] * 2  # at its start, and when it was trained
    assert "MB of weights" in gates["latency"][1]


def test_a_champion_of_tables_and_one_that_writes_cannot_teach_a_classifier(
    small: Site, tiny_base: Path, student: Path
) -> None:
    model = world.declare(small, world.spec(tiny_base))
    taught = world.spec(student, recipe={"teacher": "champion"})
    table = small.settings.home_dir / "table"
    table.mkdir()
    (table / PIPELINE).write_text("{}")
    for base, words in ((str(table), "model of tables"), ("./table", "model of tables")):
        with small.database.write() as db:
            champion = store.champion(db, model.id)
            assert champion is not None
            champion.base_model = base
        with small.database.read() as db, pytest.raises(RecipeError, match=words) as caught:
            check_applicable(small, db, world.NAME, taught)
        assert caught.value.facts["field"] == "retrain.recipe.teacher"
        with pytest.raises(RecipeError, match=words):
            world.declare(small, taught)


def test_a_student_with_another_vocabulary_is_refused_and_one_with_the_same_is_taken(
    small: Site, tiny_causal_base: Path, tmp_path: Path
) -> None:
    model = world.declare(small, world.answers_spec(tiny_causal_base))
    other = tmp_path / "other"
    shutil.copytree(tiny_causal_base, other)
    document = world.answers_spec(other).document
    document["retrain"]["recipe"]["teacher"] = "champion"
    taught = parse_spec(document)
    with small.database.read() as db:
        check_applicable(small, db, world.NAME, taught)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    with small.database.read() as db:
        champion = store.champion(db, model.id)
        with pytest.raises(RecipeError, match="reads plain texts, and rows of this recipe are conversations"):
            check_teacher(small, champion, Plan.of(taught).recipe)
    (other / "chat_template.jinja").unlink()
    words = json.loads((other / "tokenizer.json").read_text())
    words["model"]["merges"] = words["model"]["merges"][:-1]
    (other / "tokenizer.json").write_text(json.dumps(words))
    with small.database.read() as db, pytest.raises(RecipeError, match="different vocabularies"):
        check_applicable(small, db, world.NAME, taught)


def test_a_champion_without_a_head_teaches_nothing_and_blocks_the_decision(
    small: Site, tiny_base: Path, student: Path, clock: ManualClock
) -> None:
    model = world.declare(small, world.spec(student, recipe={"teacher": "champion"}))
    sent(small, clock)
    with small.database.write() as db:
        row = db.get_one(ModelVersion, store.version(db, model.id, "v1", world.NAME).id)
        row.labels = None
    world.key(small, "ann")
    with small.database.write() as db:
        considered = start_manual(small, db, world.NAME, "ann", "try")
    assert considered.run is None
    blocker = next(b for b in considered.decision.blocked_by if b["name"] == "teacher")
    assert "answers no label" in blocker["reason"]

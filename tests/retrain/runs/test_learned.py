"""What a run learns and is judged by: one outcome, its newest labels, and more than one class."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from core.clock import ManualClock
from core.errors import AppError, InvalidError
from monitor import service as monitor
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.store import model as model_named
from retrain import store
from retrain.curate import service as curation
from retrain.errors import RecipeError
from retrain.registry.versions import checked_plan
from retrain.runs.consider import labelled, start_manual
from retrain.tables import TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny

pytestmark = SQLITE_FIRST


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


def with_outcomes(base: Path, before: dict[str, str], *, new: bool = True, **retrain: Any) -> ModelSpec:
    """The spec of `world` with other outcomes declared before its own."""
    document = world.spec(base, **retrain).document
    columns = dict(document["columns"])
    own = columns.pop("intent_true")
    columns |= {name: {"role": "outcome", "type": kind} for name, kind in before.items()}
    return parse_spec(document | {"columns": columns | {"intent_true": own}}, new=new)


def tell(site: Site, frame: pl.DataFrame, clock: ManualClock, **values: Any) -> None:
    """Send outcomes: values by column, or those of the frame."""
    sent = frame.select("event_id").with_columns(
        frame[value] if value in frame.columns else pl.lit(value).alias(name) for name, value in values.items()
    )
    site.events.append_outcomes(world.current(site), sent, now=clock.now())


def asked(site: Site) -> TriggerDecision:
    with site.database.write() as db:
        return start_manual(site, db, world.NAME, "ann", "new intents").decision


def test_other_outcomes_are_neither_learned_nor_counted_wherever_they_stand(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, with_outcomes(base, {"csat": "number", "resolved": "boolean"}))
    frame = world.traffic(400, (*tiny.OLD, *tiny.NEW))
    world.send(site, frame, clock, outcomes=False)
    tell(site, frame, clock, csat=3.0, resolved=True)
    world.baseline_ends(site, 100)
    with site.database.read() as db:
        assert labelled(site, db, model_named(db, world.NAME), None).since_training == 0
    assert [b["name"] for b in asked(site).blocked_by] == ["min_outcomes"]
    tell(site, frame, clock, intent_true="intent_true")
    run = world.start(site)
    prepared = curation.prepare(site, run)
    assert set(prepared.curated.labels) == {*tiny.OLD, *tiny.NEW}
    digests = curation.keep(site, prepared)
    with site.database.write() as db:
        made = curation.register(site, db, store.run(db, run), model_named(db, world.NAME), prepared, digests)
        origin = made["eval"].provenance
        assert origin["target"] == {"column": "intent_true", "how": "matched"}
        assert origin["data_window"]["to"] == frame["ts"].max().isoformat()  # type: ignore[union-attr]
        assert origin["rows_of_sources"] == {"events": made["eval"].rows}


def test_labels_of_one_class_block_the_decision_before_a_run_is_queued(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(300, ("card",)), clock)
    decision = asked(site)
    assert not decision.fired
    assert [b["name"] for b in decision.blocked_by] == ["labels"]
    assert "intent_true, fewer than two classes have rows to learn from: card (300)" in decision.reason
    world.send(site, world.traffic(20, ("pin",), first=300), clock)
    assert asked(site).fired


def test_outcomes_that_the_champion_cannot_answer_block_the_decision_with_both_label_sets(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base))
    frame = world.traffic(300, ("card", "money"))
    world.send(site, frame.with_columns(pl.col("intent_true").str.to_uppercase()), clock)
    decision = asked(site)
    assert [b["name"] for b in decision.blocked_by] == ["labels"]
    assert "no label is shared: the outcomes are CARD, MONEY; the champion answers card, " in decision.reason
    world.send(site, world.traffic(20, ("card",), first=300), clock)
    assert asked(site).fired


@pytest.mark.parametrize(
    ("answered", "sent", "learned"),
    [
        (("0", "1"), "boolean", ("0", "1")),  # whoever reads the answers goes on reading 0 and 1
        (("False", "True"), "boolean", ("false", "true")),
        (("true", "false"), "category", ("true", "false")),
    ],
)
def test_truth_values_are_one_however_champion_and_outcomes_write_them(
    site: Site, base: Path, clock: ManualClock, answered: tuple[str, ...], sent: str, learned: tuple[str, ...]
) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"id2label": dict(enumerate(answered))}))
    save_file({"score.weight": np.ones((2, 2), dtype=np.float32)}, base / "model.safetensors")
    document = world.spec(base).document
    document["columns"] |= {
        "intent": {"role": "prediction", "type": "category" if sent == "boolean" else "boolean"},
        "intent_true": {"role": "outcome", "type": sent},
    }
    world.declare(site, parse_spec(document, new=True))
    frame = world.traffic(300, ("card", "money"))
    right = frame["intent_true"] == "card"
    told = right if sent == "boolean" else right.cast(pl.Int8).cast(pl.String)
    answer = right.cast(pl.Int8).cast(pl.String) if sent == "boolean" else right
    world.send(site, frame.with_columns(answer.alias("intent"), told.alias("intent_true")), clock)
    assert asked(site).fired
    with site.database.read() as db:
        run = store.runs(db, model_named(db, world.NAME).id)[0]
    curated = curation.prepare(site, run.id).curated
    assert curated.labels == learned
    assert set(curated.eval.rows["label"]) == set(learned)


def test_a_weight_of_a_class_that_is_nowhere_blocks_the_decision_with_the_choices(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, recipe={"class_weights": {"crad": 5}}))
    world.send(site, world.traffic(300, (*tiny.OLD, "pin")), clock)
    decision = asked(site)
    assert [b["name"] for b in decision.blocked_by] == ["labels"]
    assert (
        "retrain.recipe.class_weights names 'crad', which no outcome, no registered dataset and no class of the "
        in (decision.reason)
    )
    assert "did you mean card?; choose from card, money, phone, pin, rate" in decision.reason
    with site.database.write() as db:
        monitor.apply_spec(site, db, world.spec(base, recipe={"class_weights": dict.fromkeys(tiny.OLD, 0)}), "tester")
    assert "gives a weight above 0 to pin of the classes with rows, card, money, phone, pin" in asked(site).reason
    with site.database.write() as db:
        monitor.apply_spec(site, db, world.spec(base, recipe={"class_weights": {"pin": 0}}), "tester")
    assert asked(site).fired


def test_a_golden_gate_without_golden_rows_blocks_the_decision(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base, gates=["no_regression", "golden"]))
    world.send(site, world.traffic(300, tiny.OLD), clock)
    decision = asked(site)
    assert [b["name"] for b in decision.blocked_by] == ["labels"]
    assert "no dataset of role golden is registered" in decision.reason


def test_labels_and_corrections_after_a_training_set_are_new_to_the_next_run(
    site: Site, base: Path, clock: ManualClock, tmp_path: Path
) -> None:
    world.declare(site, world.spec(base))
    first = world.traffic(300, tiny.OLD)
    world.send(site, first, clock, outcomes=False)
    world.tell(site, first.head(280), clock)
    run = world.start(site)
    world.evaluated(site, run, world.fake_adapter(tmp_path / "adapter"))
    with site.database.write() as db:
        row = store.run_datasets(db, run)["train"]
        text = pl.DataFrame({"text": first.head(200)["text"], "label": first.head(200)["intent_true"]})
        text.write_parquet(tmp_path / "train.parquet")
        row.digest = site.artifacts.put((tmp_path / "train.parquet").read_bytes())
        row.provenance = row.provenance | {"sources": [{"to_seq": 300}, {"outcomes": 280, "next_outcome": 280}]}
        store.run(db, run).state = "promoted"
        version = store.version_of_run(db, run)
        champion = store.champion(db, store.run(db, run).model_id)
        assert version is not None
        assert champion is not None
        champion.stage = "retired"
        db.flush()
        version.stage, version.promoted_at, version.signature = "champion", site.clock.now(), champion.signature
    clock.move_to(clock.now() + timedelta(days=2))
    world.tell(site, first.tail(20), clock)  # late
    tell(site, first.head(30), clock, intent_true="pin")  # corrected
    world.send(site, world.traffic(100, tiny.OLD, first=300), clock)
    prepared = curation.prepare(site, world.start(site))
    learned = dict(prepared.curated.train.rows.select("row_id", "label").iter_rows())
    assert [learned.get(f"e{i}") for i in range(30)] == ["pin"] * 30
    assert prepared.curated.facts["new_rows"] == 126  # 150 new or told anew, of which a fifth of the 120 is held out
    assert not {f"e{i}" for i in range(30)} & {*prepared.curated.eval.rows["row_id"]}


@pytest.mark.parametrize(
    ("outcomes", "retrain", "message"),
    [
        ({"team_true": "category"}, {}, "may be compared with team_true, intent_true"),
        ({}, {"envelope": {"fairness": {"equalised_odds": 0.1}}}, "no such metric.*choose from"),
        ({}, {"envelope": {"fairness": {"demographic_parity_difference": 10}}}, "lies outside 0 to 1"),
        ({}, {"envelope": {"kpi_floor": {"accuracy": 85}}}, "write a share"),
        ({}, {"envelope": {"kpi_floor": {"roc_auc": 0.9}}}, "no gate can measure"),
        ({}, {"envelope": {"kpi_floor": {"accuracy": 0.9}}, "gates": ["integrity"]}, "leaves out no_regression"),
        (
            {},
            {"envelope": {"golden_share": 0.9}},
            "golden_share is a limit of gate golden, which retrain.gates leaves out",
        ),
        ({}, {"recipe": {"task": "causal_lm"}, "envelope": {"kpi_floor": {"accuracy": 0.9}}}, "leave kpi_floor out"),
    ],
)
def test_what_no_run_could_satisfy_is_refused_when_it_is_applied(
    site: Site, base: Path, outcomes: dict[str, str], retrain: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        world.declare(site, with_outcomes(base, outcomes, **retrain))


def test_an_outcome_that_a_recipe_cannot_learn_is_refused_with_the_fix(site: Site, base: Path) -> None:
    document = world.spec(base).document
    document["columns"]["intent_true"] = {"role": "outcome", "type": "number"}
    with pytest.raises(AppError, match=r"columns\.intent_true\.type: is number.*declare intent_true as category"):
        world.declare(site, parse_spec(document, new=True))


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("boolean", "yes", "no outcome of intent_true (boolean) can be 'yes'; its labels are true, false"),
        ("boolean", "True", "its labels are true, false"),
        ("category", "1.0", "spell '1.0' as '1'"),
        ("category", " ", "is no value"),
        ("category", "a new intent", None),
        ("boolean", "true", None),
    ],
)
def test_a_weight_of_a_name_that_no_label_can_be_is_refused_at_apply(
    site: Site, base: Path, kind: str, name: str, message: str | None
) -> None:
    document = world.spec(base, recipe={"class_weights": {name: 5}}).document
    columns = document["columns"] | {
        "intent": {"role": "prediction", "type": kind}, "intent_true": {"role": "outcome", "type": kind},
    }  # fmt: skip
    spec = parse_spec(document | {"columns": columns})
    if message is None:
        checked_plan(site, spec)
        return
    with pytest.raises(RecipeError) as refused:
        checked_plan(site, spec)
    assert message in str(refused.value)
    assert (refused.value.facts["field"], refused.value.facts["value"]) == ("retrain.recipe.class_weights", name)

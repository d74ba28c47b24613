"""A tabular model through the whole loop: first champion, drift of meaning, run, gates, promotion, download."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.auth import COOKIE
from core.clock import ManualClock
from core.errors import AppError
from core.jobs import RunJob
from core.settings_train import TrainSettings
from governance.access.api_keys import create_key
from governance.access.roles import Caller, Role
from governance.access.sessions import open_session
from governance.ledger.read import ledger_rows
from monitor.site import Site
from monitor.spec.parse import parse_spec
from reports.facts.mitigation import trade_off
from retrain import jobs, store
from retrain.registry.archive import archive_of
from retrain.registry.card import card_of, markdown
from retrain.registry.champion import champion_of
from retrain.runs.change_check import as_markdown
from retrain.runs.change_document import change_document
from retrain.runs.consider import start_manual
from retrain.train.errors import DataError
from retrain.train.tabular.first import first_model
from retrain.train.tabular.model import load_table
from retrain.train.tabular.rows import as_texts, from_texts
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.lending import events, queued, spec
from tests.retrain.train.tabular.loans import COLUMNS, loans, recipe

pytestmark = SQLITE_FIRST


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


@pytest.mark.parametrize(
    ("estimator", "regression"),
    [("lightgbm", False)]
    + [pytest.param(n, r, marks=pytest.mark.slow) for n, r in (
        ("ridge", True), ("xgboost", True), ("xgboost", False), ("random_forest", False),
        ("logistic_regression", False), ("hist_gradient_boosting", True),
    )],
)  # fmt: skip
def test_a_table_is_retrained_judged_promoted_and_served(
    small: Site, clock: ManualClock, tmp_path: Path, estimator: str, regression: bool
) -> None:
    gated = ["no_regression", "integrity", *([] if regression else ["forgetting"])]
    run_id = queued(small, clock, estimator, regression=regression, gates=gated)
    assert jobs.run(small, RunJob(run_id=run_id)) is None
    run = world.read(small, run_id)
    with small.database.read() as db:
        gates = {g.gate: (g.verdict, g.reason) for g in store.gates(db, run_id)}
    assert (run.state, run.error) == ("promoted", None), gates
    assert {gates[name][0] for name in gated} == {"pass"}
    assert gates["fairness"][0] == "not_applicable"  # no rule asks for it
    with small.database.read() as db:
        champion = champion_of(small, db, world.NAME)
        limits = {line["limit"]: line for line in change_document(small, db, run_id)["limits"]}
    cut = limits["max_cut_share"]
    assert (cut["verdict"], cut["declared"]) == ("does not apply", 0.01), cut
    with small.database.read() as db:
        card = card_of(small, db, world.NAME, "v2")
    assert champion.version == "v2"
    assert champion.adapter_digest is not None
    assert champion.labels == (None if regression else ("no", "yes"))
    folder = archive_of(small, champion.adapter_digest).folder
    model, first = load_table(folder), load_table(small.settings.home_dir / "models" / "loans")
    held = loans(200, seed=9, turned=True)
    if regression:
        truth = held["cost"].to_numpy()
        assert abs(model.scores(held)[:, 0] - truth).mean() < abs(first.scores(held)[:, 0] - truth).mean()
    else:
        right, before = (
            sum(a == b for a, b in zip(m.predict(held), held["repaid"], strict=True)) for m in (model, first)
        )
        assert right > before + 30
    assert card["serving"]["table"]["estimator"] == estimator
    assert f"{estimator} in `model." in markdown(card)


def test_equal_rows_of_a_table_all_count(small: Site, clock: ManualClock) -> None:
    from retrain.curate.service import prepare

    declared = spec("xgboost")
    folder = small.settings.home_dir / "models" / "loans"
    folder.parent.mkdir(parents=True, exist_ok=True)
    first_model(recipe("xgboost"), COLUMNS, "repaid", loans(300), folder, threads=1)
    world.declare(small, declared)
    same = pl.concat([loans(1, seed=3)] * 60 + [loans(60, seed=4)])
    frame = events(same, 0, "repaid")
    clock.move_to(frame["ts"].max())  # type: ignore[arg-type]  # a time
    small.events.append_events(declared, frame.drop("truth"), now=clock.now())
    small.events.append_outcomes(declared, frame.select("event_id", "truth"), now=clock.now())
    world.baseline_ends(small, 0)
    curated = prepare(small, world.start(small)).curated
    assert curated.train.rows.height + curated.eval.rows.height == 120


def test_a_champion_that_reads_a_column_the_spec_no_longer_has_is_compared_with_nothing(
    small: Site, clock: ManualClock
) -> None:
    run_id = queued(small, clock, "ridge", regression=True)
    with small.database.write() as db:
        store.run(db, run_id).state = "rejected"
    fewer, kept = COLUMNS[:3], loans(400, seed=2, turned=True)
    recipe_ = recipe("ridge", regression=True, base_model="./models/fewer")
    first_model(recipe_, fewer, "cost", kept, small.settings.home_dir / "models" / "fewer", threads=1)
    document = spec("ridge", regression=True).document
    del document["columns"]["branch"]
    document["retrain"] |= {"recipe": recipe_.model_dump(mode="json", exclude_defaults=True), "cooldown": "1m"}
    world.declare(small, parse_spec(document, new=True))
    frame = events(kept, 700, "cost").drop("branch")
    clock.move_to(frame["ts"].max())  # type: ignore[arg-type]  # a time
    small.events.append_events(world.current(small), frame.drop("truth"), now=clock.now())
    small.events.append_outcomes(world.current(small), frame.select("event_id", "truth"), now=clock.now())
    with small.database.write() as db:
        decision = start_manual(small, db, world.NAME, "ann", "fewer columns").decision
    assert [b["name"] for b in decision.blocked_by] == ["labels"]
    assert "champion v1 reads branch, which the spec no longer declares as input" in decision.reason
    model = load_table(small.settings.home_dir / "models" / "loans")
    with pytest.raises(DataError, match="the model reads branch, and the rows have no such column"):
        from_texts(as_texts(kept, fewer), model.pipeline.inputs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": {"note": {"role": "input", "type": "text"}}}, "columns.note.type: is text"),
        ({"recipe": {"estimator": "ridge"}}, "estimator: is ridge, which does not fit tabular_classification"),
        ({"recipe": {"parameters": {"n_estimator": 5}}}, "is no parameter of lightgbm"),
        ({"recipe": {"parameters": {"num_leaves": 1}}}, "a whole number from 2 to 4096"),
        ({"recipe": {"task": "tabular_regression", "class_weights": None}}, "does not fit task classification"),
        ({"columns": {"rooms": {"role": "input", "type": "number"}}}, "other columns than the spec declares: rooms"),
        ({"envelope": {"kpi_floor": {"mae": 3}}}, "kpi_floor names 'mae'"),
        ({"recipe": {"base_model": "./models/none"}}, "is no folder with a model"),
        ({"recipe": {"estimator": "random_forest", "early_stopping": 5}}, "is not fitted tree by tree"),
        ({"envelope": {"hyperparameters": {"learning_rate": [0.2, 0.5]}}}, "learning_rate is 0.1"),
    ],
)  # fmt: skip
def test_what_apply_refuses(small: Site, changes: dict[str, Any], words: str) -> None:
    folder = small.settings.home_dir / "models" / "loans"
    folder.parent.mkdir(parents=True, exist_ok=True)
    first_model(recipe("lightgbm"), COLUMNS, "repaid", loans(120), folder, threads=1)
    chosen = recipe("lightgbm").model_dump(mode="json", exclude_defaults=True) | {"parameters": {}}
    more = {"recipe": chosen | changes.get("recipe", {})} | {k: v for k, v in changes.items() if k == "envelope"}
    with pytest.raises(AppError) as refused:
        world.declare(small, spec("lightgbm", columns=changes.get("columns"), **more))
    assert words in refused.value.message


def test_a_mitigated_run_shows_its_trade_off_before_anybody_approves_it(small: Site, clock: ManualClock) -> None:
    mitigation = {"method": "reweigh", "by": ["region"], "positive": "yes"}
    chosen = recipe("logistic_regression", mitigation=mitigation).model_dump(mode="json", exclude_defaults=True)
    run_id = queued(small, clock, "logistic_regression", recipe=chosen, approval="one")
    assert jobs.run(small, RunJob(run_id=run_id)) is None
    run = world.read(small, run_id)
    assert run.state == "awaiting_approval", run.error
    assert run.metrics is not None
    assert [p["setting"] for p in run.metrics["mitigation"]["points"]][-1] == run.metrics["mitigation"]["chosen"]
    assert run.evaluation is not None
    sides = [(p["setting"], p["set"]) for p in run.evaluation["mitigation"]]
    assert sides[:2] == [("champion", "new"), ("challenger", "new")]
    with small.database.read() as db:
        document = change_document(small, db, run_id)
        card = card_of(small, db, world.NAME, "v2")
        told = [e for e in ledger_rows(db, limit=1000, subject=f"run:{run_id}") if '"kind":"run.trained"' in e.entry]
        traded = trade_off(run.metrics, run.evaluation)
    assert "Mitigation: reweigh by region. Rates are those of `yes`." in as_markdown(document)
    assert "| strength 1 (chosen) |" in as_markdown(document)
    assert any("Its training was mitigated: reweigh by region" in line for line in card["limits"])
    assert '"method":"reweigh"' in told[0].entry
    assert traded is not None
    assert [p.chosen for p in traded.points[:5]] == [False, False, False, False, True]
    page = TestClient(create_app(small), cookies={COOKIE: _session(small)}).get(f"/runs/{run_id}").text
    assert (
        page.index("Mitigation: reweigh by region, strength 1") < page.index(", rates of yes") < page.index(">Decide<")
    )


@pytest.mark.slow
def test_a_run_that_decides_by_group_is_judged_by_what_it_decides_and_says_what_the_law_may(
    small: Site, clock: ManualClock
) -> None:
    mitigation = {"method": "threshold", "by": ["region"], "positive": "yes"}
    chosen = recipe("logistic_regression", mitigation=mitigation).model_dump(mode="json", exclude_defaults=True)
    run_id = queued(small, clock, "logistic_regression", recipe=chosen, approval="one", gates=["integrity"])
    assert jobs.run(small, RunJob(run_id=run_id)) is None
    run = world.read(small, run_id)
    assert run.state == "awaiting_approval", run.error
    assert run.metrics is not None
    assert set(run.metrics["mitigation"]["thresholds"]["groups"]) == {"north", "south"}
    page = TestClient(create_app(small), cookies={COOKIE: _session(small)}).get(f"/runs/{run_id}").text
    assert "Thresholds by group use the protected attribute each time a decision is made" in page
    with small.database.read() as db:
        card = card_of(small, db, world.NAME, "v2")
    assert any("use the protected attribute" in line for line in card["limits"])


def _session(site: Site) -> str:
    with site.database.write() as db:
        row, _ = create_key(db, name="approver", role=Role.APPROVER, actor="tester", now=site.clock.now())
        caller = Caller(row.name, Role.APPROVER, row.prefix)
        return open_session(db, caller, site.keys.session, site.clock.now(), timedelta(hours=1), "key")


def test_a_mitigation_by_a_column_that_is_not_protected_is_refused(small: Site, clock: ManualClock) -> None:
    chosen = recipe("logistic_regression", mitigation={"method": "reweigh", "by": ["branch"]})
    with pytest.raises(AppError, match="'branch' is no column with role protected; such columns: region"):
        queued(small, clock, "logistic_regression", recipe=chosen.model_dump(mode="json", exclude_defaults=True))

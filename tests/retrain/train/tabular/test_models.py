"""Every estimator: what was trained is what is loaded, whatever the order of columns and the levels that come."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain.train.errors import DataError, UnsafeWeightsError
from retrain.train.tabular.estimator_list import ESTIMATORS
from retrain.train.tabular.first import FolderTakenError, first_model
from retrain.train.tabular.model import TableModel, load_table
from retrain.train.tabular.rows import typed
from retrain.train.weights import folder_digest
from tests.retrain.train.tabular.loans import COLUMNS, loans, recipe

TASKS = [(n, r) for n, e in ESTIMATORS.items() for r in (False, True) if (e.regresses if r else e.classifies)]


def made(folder: Path, estimator: str, *, regression: bool = False, rows: pl.DataFrame | None = None,
         **more: Any) -> TableModel:  # fmt: skip
    chosen = recipe(estimator, regression=regression, **more)
    target = "cost" if regression else "repaid"
    first_model(chosen, COLUMNS, target, loans(400) if rows is None else rows, folder, threads=1)
    return load_table(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TableModel]:
    folder = tmp_path_factory.mktemp("models")
    return {name: made(folder / name, name) for name, entry in ESTIMATORS.items() if entry.classifies}


@pytest.mark.parametrize(("estimator", "regression"), TASKS)
def test_a_model_learns_and_equal_rows_give_equal_bytes(estimator: str, regression: bool, tmp_path: Path) -> None:
    model = made(tmp_path / "a", estimator, regression=regression)
    held = loans(300, seed=1)
    found = model.predict(held)
    if regression:
        error = np.abs(np.array(found, dtype=float) - held["cost"].to_numpy())
        spread = np.abs(held["cost"].to_numpy() - held["cost"].to_numpy().mean()).mean()
        assert error.mean() < 0.6 * spread
    else:
        assert np.mean([a == b for a, b in zip(found, held["repaid"], strict=True)]) > 0.78
    made(tmp_path / "b", estimator, regression=regression)
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    assert not [p.name for p in (tmp_path / "a").iterdir() if p.suffix in (".pkl", ".joblib", ".bin")]


@pytest.mark.parametrize(("estimator", "regression"), TASKS)
def test_the_library_alone_gives_the_same_numbers_as_the_guide_shows(
    estimator: str, regression: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[4] / "docs" / "retraining.md").read_text(encoding="utf-8")
    code = guide.partition("the library alone gives the same numbers")[2].split("```python\n")[1].split("```")[0]
    model = made(tmp_path / "champion", estimator, regression=regression)
    monkeypatch.chdir(tmp_path)
    for row in loans(12, seed=5).to_dicts():
        found = {"row": row}
        exec(code, found)
        own = model.scores([row])[0]
        answer = np.ravel(np.array(found["answer"], dtype=float))
        assert np.allclose(own[-len(answer) :], answer, rtol=0, atol=1e-12)


@settings(max_examples=12, deadline=None)
@given(order=st.permutations([c.name for c in COLUMNS]), seed=st.integers(0, 1000), extra=st.booleans())
def test_the_order_of_columns_never_counts(
    models: dict[str, TableModel], order: list[str], seed: int, extra: bool
) -> None:
    rows = loans(8, seed=seed)
    turned = rows.select(*order, *([pl.lit("x").alias("other")] if extra else []))
    for model in models.values():
        expected = model.scores(rows)
        assert np.array_equal(model.scores(turned), expected)
        assert np.array_equal(model.scores(turned.to_dicts()), expected)
        assert np.array_equal(model.scores(turned.to_pandas()), expected)
        single = np.concatenate([model.scores(row) for row in turned.iter_slices(1)])
        assert np.allclose(single, expected, rtol=0, atol=1e-12)  # products of other shapes round otherwise


@settings(max_examples=12, deadline=None)
@given(level=st.text(max_size=8) | st.none(), seed=st.integers(0, 1000))
def test_a_level_that_was_not_seen_changes_no_other_row(
    models: dict[str, TableModel], level: str | None, seed: int
) -> None:
    rows = loans(6, seed=seed)
    mixed = pl.concat([rows, rows.head(1).with_columns(pl.lit(level, dtype=pl.String).alias("purpose"))])
    for model in models.values():
        found = model.scores(mixed)
        assert np.array_equal(found[:-1], model.scores(rows))
        assert np.isfinite(found).all()
        assert np.allclose(found.sum(axis=1), 1)


def test_every_level_not_seen_is_one_and_spellings_of_a_number_are_one(models: dict[str, TableModel]) -> None:
    row = {"age": 40, "purpose": "car", "owner": True, "branch": "3"}
    for name, model in models.items():
        one = model.scores([row | {"purpose": "boat"}])
        assert np.array_equal(one, model.scores([row | {"purpose": "moon"}])), name
        same = [model.scores([row | {"branch": value}]) for value in ("3", 3, 3.0, "3.0")]
        assert all(np.array_equal(same[0], other) for other in same), name


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "xgboost", "lightgbm"])
def test_early_stopping_keeps_the_best_trees_and_no_more(estimator: str, tmp_path: Path) -> None:
    most = "max_iter" if estimator == "hist_gradient_boosting" else "n_estimators"
    parameters = {most: 400, "learning_rate": 0.5}
    chosen = recipe(estimator, early_stopping=5, validation=0.2).model_copy(update={"parameters": parameters})
    facts = first_model(chosen, COLUMNS, "repaid", loans(400), tmp_path / "m", threads=1)
    assert facts["steps"] < 100
    assert facts["rows_validation"] == 80


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "xgboost", "lightgbm"])
def test_the_only_row_of_a_class_is_learned_and_not_only_looked_at(estimator: str, tmp_path: Path) -> None:
    drawn = int(np.random.default_rng(0).permutation(60)[0])  # the first row that early stopping takes
    rows = loans(60).with_columns(repaid=pl.when(pl.int_range(60) == drawn).then(pl.lit("no")).otherwise(pl.lit("yes")))
    made(tmp_path / "m", estimator, rows=rows, early_stopping=3)
    facts = json.loads((tmp_path / "m" / "pipeline.json").read_text())
    assert facts["labels"] == ["no", "yes"]


def test_the_labels_of_a_boolean_target_are_true_and_false_however_the_rows_write_them(tmp_path: Path) -> None:
    rows = loans(60).with_columns(repaid=(pl.col("repaid") == "yes").cast(pl.Float64))
    first_model(recipe("lightgbm"), COLUMNS, "repaid", rows, tmp_path / "m", threads=1, boolean=True)
    assert load_table(tmp_path / "m").labels == ("false", "true")
    with pytest.raises(DataError, match="repaid is declared as boolean and holds 'no'; write true and false"):
        first_model(recipe("lightgbm"), COLUMNS, "repaid", loans(60), tmp_path / "n", threads=1, boolean=True)


def test_a_boolean_that_is_no_number_is_missing_and_another_number_is_refused() -> None:
    owner = [COLUMNS[2]]
    assert typed(pl.DataFrame({"owner": [1.0, 0.0, float("nan"), None]}), owner)["owner"].to_list() == [
        True, False, None, None,
    ]  # fmt: skip
    with pytest.raises(DataError, match="column 'owner': 2 is no boolean"):
        typed(pl.DataFrame({"owner": [1, 2]}), owner)


def test_weights_of_classes_move_the_answers(tmp_path: Path) -> None:
    rows = loans(500)
    plain = made(tmp_path / "plain", "lightgbm", rows=rows)
    heavy = made(tmp_path / "heavy", "lightgbm", rows=rows, class_weights={"no": 20.0})
    held = loans(200, seed=2)
    assert heavy.predict(held).count("no") > plain.predict(held).count("no")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"class_weights: \['maybe'\]"):
        made(tmp_path / "wrong", "lightgbm", class_weights={"maybe": 2.0})


def test_three_classes_and_a_class_without_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = loans(300).with_columns(repaid=pl.Series([draw.choice(["a", "b", "c"]) for _ in range(300)]))
    for name, entry in ESTIMATORS.items():
        if entry.classifies:
            model = made(tmp_path / name, name, rows=rows)
            assert model.scores(rows).shape == (300, 3)
            assert set(model.predict(rows)) <= {"a", "b", "c"}


@pytest.mark.parametrize(("estimator", "regression"), TASKS)
def test_numbers_beyond_a_float_of_32_bits_are_missing_and_an_empty_column_is_learned(
    estimator: str, regression: bool, tmp_path: Path
) -> None:
    rows = loans(120).with_columns(owner=pl.lit(None, dtype=pl.Boolean))
    wild = rows.with_columns(age=pl.when(pl.int_range(pl.len()) == 7).then(1e300).otherwise("age"))
    gone = rows.with_columns(age=pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise("age"))
    told = pl.concat([wild, wild.head(1).with_columns(cost=pl.lit(1e39))]) if regression else wild
    model = made(tmp_path / "m", estimator, regression=regression, rows=told)
    assert np.array_equal(model.scores(wild), model.scores(gone))
    assert np.array_equal(model.scores(wild.to_dicts()), model.scores(wild))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cost holds no number in any of 20 rows"):
        made(tmp_path / "none", "xgboost", regression=True, rows=loans(20).with_columns(cost=pl.lit("dear")))
    model = made(tmp_path / "m", "xgboost")
    row = {"age": 40, "purpose": "car", "owner": True, "branch": "3"}
    with pytest.raises(DataError, match="column 'age' is missing"):
        model.scores([{n: v for n, v in row.items() if n != "age"}])
    with pytest.raises(DataError, match="column 'age': 'old' is no number"):
        model.scores([row | {"age": "old"}])
    with pytest.raises(DataError, match="'age' is declared as number"):
        model.scores(loans(3).with_columns(pl.lit("old").alias("age")))
    with pytest.raises(FolderTakenError):
        made(tmp_path / "m", "xgboost")
    (tmp_path / "m" / "model.ubj").write_bytes(b"other")
    with pytest.raises(DataError, match="copy both files of one model"):
        load_table(tmp_path / "m")
    (tmp_path / "m" / "model.pkl").write_bytes(b"")
    with pytest.raises(UnsafeWeightsError):
        load_table(tmp_path / "m")


def test_skops_types_that_are_not_reviewed_are_not_loaded(tmp_path: Path) -> None:
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from retrain.train.tabular.skops_file import loads

    with pytest.raises(DataError, match="not reviewed"):
        loads(skops.io.dumps(make_pipeline(FunctionTransformer(print))))

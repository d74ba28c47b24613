"""Every format: its values add up to what the library itself gives, and the event's answer is checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from retrain.evals.explain_rows import GIVEN, SCORE, explain_rows
from retrain.train.tabular.first import first_model
from tests.retrain.train.tabular.loans import COLUMNS, PURPOSES, loans, recipe

TRAIN, HELD = loans(200), loans(9, seed=3)
BRANCHES = [str(i) for i in range(6, 0, -1)]
LEVELS = {"purpose": list(PURPOSES), "branch": BRANCHES}
slow = pytest.mark.slow


def explained(
    folder: Path, given: Any, *, file: Path | None = None, own: Path | None = None, rows: pl.DataFrame = HELD,
    score: Any = None, classes: bool = True, interventional: bool = False, threshold: float | None = None,
    background: pl.DataFrame = TRAIN, **declared: Any,
) -> tuple[pl.DataFrame, dict[str, Any]]:  # fmt: skip
    scores = [None] * rows.height if score is None else score
    rows.with_columns(
        pl.Series("event_id", [f"e{i}" for i in range(rows.height)]), pl.Series("seq", range(rows.height)),
        pl.Series(GIVEN, given), pl.Series(SCORE, scores, dtype=pl.Float64),
    ).write_parquet(folder / "rows.parquet")  # fmt: skip
    background.head(40).write_parquet(folder / "background.parquet")
    names = [c.name for c in COLUMNS]
    config = {
        "folder": own and str(own), "file": file and str(file), "threshold": threshold,
        "declared": {"columns": [c.model_dump() for c in COLUMNS], "inputs": names, "classes": classes, **declared},
        "rows": str(folder / "rows.parquet"), "background": str(folder / "background.parquet"),
        "interventional": interventional, "budget": 2000, "output_dir": str(folder),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    explain_rows(folder / "config.json")
    return pl.read_parquet(folder / "block.parquet"), json.loads((folder / "facts.json").read_text())


def frame_of(rows: pl.DataFrame, *, codes: bool = False) -> Any:
    frame = rows.select("age", "purpose", "owner", "branch").to_pandas()
    for name, listed in LEVELS.items():
        frame[name] = pd.Categorical(frame[name], categories=listed)
        if codes:
            frame[name] = frame[name].cat.codes.astype(float)
    return frame.astype({"owner": float}) if codes else frame.astype({"owner": bool})


def words_of(rows: pl.DataFrame) -> Any:
    frame = rows.select("age", "purpose", "owner", "branch").to_pandas()
    return frame.astype({"owner": float, "purpose": object, "branch": object}).assign(
        purpose=frame["purpose"].astype(object).where(frame["purpose"].notna(), "nan")
    )


def truth(kinds: int) -> Any:
    if kinds == 2:
        return np.array(TRAIN["repaid"].to_list())
    cost = TRAIN["cost"].to_numpy()
    return cost if not kinds else np.digitize(cost, [90.0, 140.0])


def xgboost_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    import xgboost

    kind = xgboost.XGBClassifier if kinds else xgboost.XGBRegressor
    target = (truth(2) == "yes").astype(int) if kinds == 2 else truth(kinds)
    model = kind(n_estimators=5, max_depth=3, enable_categorical=True).fit(frame_of(TRAIN), target)
    model.save_model(folder / "model.ubj")
    held = frame_of(HELD)
    more = {"outputs": ["no", "yes"] if kinds == 2 else ["lo", "mid", "hi"]} if kinds else {}
    return folder / "model.ubj", model.predict(held), model.predict(held, output_margin=True), more


def lightgbm_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    import lightgbm

    kind = lightgbm.LGBMClassifier if kinds else lightgbm.LGBMRegressor
    target = (truth(2) == "yes").astype(int) if kinds == 2 else truth(kinds)
    model = kind(n_estimators=5, num_leaves=5, verbose=-1).fit(frame_of(TRAIN), target)
    model.booster_.save_model(folder / "model.txt")
    held = frame_of(HELD)
    more = {"outputs": ["no", "yes"] if kinds == 2 else ["lo", "mid", "hi"]} if kinds else {}
    return folder / "model.txt", model.predict(held), model.predict(held, raw_score=True), more


def catboost_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    import catboost

    kind = catboost.CatBoostClassifier if kinds else catboost.CatBoostRegressor
    model = kind(iterations=5, depth=3, verbose=0, cat_features=["purpose", "branch"], allow_writing_files=False,
                 thread_count=1).fit(words_of(TRAIN), truth(kinds))  # fmt: skip
    model.save_model(str(folder / "model.cbm"))
    held = words_of(HELD)
    return folder / "model.cbm", model.predict(held).ravel(), model.predict(held, prediction_type="RawFormulaVal"), {}


def skops_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    """A pipeline with one-hot levels; asked, for shap cannot look through it."""
    import skops.io
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    read = make_column_transformer(
        (SimpleImputer(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["purpose", "branch"]),
        ("passthrough", ["owner"]),
    )  # fmt: skip
    frame = TRAIN.select("age", "purpose", "owner", "branch").to_pandas().astype({"owner": float})
    model = make_pipeline(read, LogisticRegression(max_iter=300) if kinds else Ridge()).fit(frame, truth(kinds))
    skops.io.dump(model, folder / "model.skops")
    held = HELD.select("age", "purpose", "owner", "branch").to_pandas().astype({"owner": float})
    raw = model.decision_function(held) if kinds else model.predict(held)
    return folder / "model.skops", model.predict(held), raw, {}


def forest_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if kinds else RandomForestRegressor
    model = kind(5, max_depth=4, random_state=0).fit(frame_of(TRAIN, codes=True).to_numpy(), truth(kinds))
    skops.io.dump(model, folder / "model.skops")
    held = frame_of(HELD, codes=True).replace({"purpose": {-1.0: np.nan}}).to_numpy()
    raw = model.predict_proba(held) if kinds else model.predict(held)
    return folder / "model.skops", model.predict(held), raw, {"levels": LEVELS}


def onnx_file(folder: Path, kinds: int) -> tuple[Path, Any, Any, dict[str, Any]]:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression, LogisticRegression

    numbers = frame_of(TRAIN, codes=True).fillna(50).to_numpy().astype(np.float32)
    held = frame_of(HELD, codes=True).to_numpy().astype(np.float32)
    model = (LogisticRegression(max_iter=500) if kinds else LinearRegression()).fit(numbers, truth(kinds))
    (folder / "model.onnx").write_bytes(to_onnx(model, numbers[:1]).SerializeToString())
    known = HELD.select(pl.all_horizontal(pl.col("age", "purpose").is_not_null())).to_series().to_numpy()
    held = np.where(np.isnan(held), 50, held)
    raw = model.predict_proba(held) if kinds else model.predict(held)
    return folder / "model.onnx", np.where(known, model.predict(held), None), raw, {"levels": LEVELS}


Maker = Callable[[Path, int], tuple[Path, Any, Any, dict[str, Any]]]
CASES = [
    (xgboost_file, 2), (xgboost_file, 3), (xgboost_file, 0), (lightgbm_file, 3), (catboost_file, 2), (catboost_file, 3),
    (skops_file, 2), (forest_file, 3),
    *(pytest.param(*case, marks=slow) for case in (
        (lightgbm_file, 2), (lightgbm_file, 0), (catboost_file, 0), (skops_file, 3), (skops_file, 0), (forest_file, 2),
        (forest_file, 0), (onnx_file, 3), (onnx_file, 0),
    )),
    (onnx_file, 2),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kinds"), CASES)
def test_values_add_up_to_what_the_library_gives(make: Maker, kinds: int, tmp_path: Path) -> None:
    file, answers, raw, declared = make(tmp_path, kinds)
    if kinds and "outputs" in declared:
        answers = [declared["outputs"][int(one)] for one in answers]
    given = [None if one is None else str(one) if kinds else float(one) for one in answers]
    lines, facts = explained(tmp_path, given, file=file, classes=bool(kinds), **declared)
    known = lines.filter(pl.col("reason").is_null())
    expected = 9 - sum(one is None for one in given) if make is onnx_file else 9
    assert known.height >= expected, lines["reason"].drop_nulls().to_list()
    at = known["seq"].to_list()
    outputs = known["output"].to_numpy()
    assert outputs == pytest.approx(np.asarray(raw).reshape(9, -1)[at], rel=1e-4, abs=1e-5)
    values = np.array(known["values"].to_list()).reshape(len(at), len(facts["columns"]), -1)
    assert values.sum(axis=1) + known["base"].to_numpy() == pytest.approx(outputs, rel=1e-4, abs=1e-5)
    assert lines["residual"].null_count() == 0
    assert facts["columns"] == ["age", "purpose", "owner", "branch"]


@pytest.mark.parametrize("estimator", ["lightgbm", pytest.param("xgboost", marks=slow),
                                       pytest.param("random_forest", marks=slow), "hist_gradient_boosting",
                                       "logistic_regression"])  # fmt: skip
def test_a_version_that_was_trained_here_is_explained_by_its_columns(estimator: str, tmp_path: Path) -> None:
    first_model(recipe(estimator), COLUMNS, "repaid", TRAIN, tmp_path / "own", threads=1)
    from retrain.train.tabular.model import load_table

    given = load_table(tmp_path / "own").predict(HELD)
    lines, facts = explained(tmp_path, given, own=tmp_path / "own")
    assert lines["reason"].null_count() == 9, lines["reason"].drop_nulls().to_list()
    assert facts["columns"] == ["age", "purpose", "owner", "branch"]
    assert len(lines["values"][0]) == 4 * len(facts["outputs"])


def test_another_answer_another_threshold_and_levels_that_were_never_seen(tmp_path: Path) -> None:
    file, answers, raw, declared = xgboost_file(tmp_path, 2)
    share = 1 / (1 + np.exp(-raw))
    wrong = ["yes" if one == 0 else "no" for one in answers]
    lines, _ = explained(tmp_path, wrong, file=file, **declared)
    assert lines["reason"].null_count() == 0
    assert "to these inputs, the event says" in lines["reason"][0]
    assert lines["values"].null_count() == 9
    said = np.where(np.array(wrong) == "yes", share, 1 - share)
    lines, _ = explained(tmp_path, wrong, file=file, score=said, **declared)
    assert lines["reason"].null_count() == 9
    assert "answered with another threshold" in lines["note"][0]
    lines, _ = explained(tmp_path, ["yes"] * 9, file=file, threshold=0.001, **declared)
    assert lines["reason"].null_count() == 9
    lines, _ = explained(tmp_path, ["maybe"] * 9, file=file, **declared)
    assert "is none of the model's classes: no, yes" in lines["reason"][0]
    boats = HELD.with_columns(pl.lit("boat").alias("purpose"))
    lines, _ = explained(tmp_path, [None] * 9, file=file, rows=boats, **declared)
    assert lines["unseen"].to_list() == ["purpose boat"] * 9
    lines, _ = explained(tmp_path, [True] * 9, file=file, rows=boats, boolean=True)  # true, 1 and yes by their meaning
    assert set(lines["own"]) <= {"true", "false"}


def test_three_classes_with_a_background_add_up_where_shap_is_wrong(tmp_path: Path) -> None:
    import xgboost

    numbers = frame_of(TRAIN.drop_nulls(), codes=True)
    target = np.digitize(TRAIN.drop_nulls()["cost"].to_numpy(), [90.0, 140.0])
    xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(numbers, target).save_model(tmp_path / "model.json")
    lines, facts = explained(
        tmp_path, [None] * 9, file=tmp_path / "model.json", rows=loans(60, seed=9).drop_nulls().head(9),
        interventional=True, background=TRAIN.drop_nulls(), levels=LEVELS, outputs=["lo", "mid", "hi"],
    )  # fmt: skip
    assert "interventional" in facts["method"]
    assert facts["background_rows"] == 40
    assert lines["reason"].null_count() == 9
    assert float(np.max(lines["residual"].to_numpy())) < 1e-5


def test_what_shap_cannot_read_is_asked_and_rows_that_no_model_reads_are_named(tmp_path: Path) -> None:
    import skops.io
    from sklearn.ensemble import GradientBoostingClassifier

    numbers = frame_of(TRAIN, codes=True).fillna(50).to_numpy()
    model = GradientBoostingClassifier(n_estimators=3, max_depth=2).fit(numbers, truth(3))
    skops.io.dump(model, tmp_path / "model.skops")
    missing = HELD.with_columns(pl.when(pl.int_range(9) == 4).then(None).otherwise(40.0).alias("age"),
                                pl.col("purpose").fill_null("car"))  # fmt: skip
    lines, facts = explained(tmp_path, [None] * 9, file=tmp_path / "model.skops", rows=missing, levels=LEVELS)
    assert lines["reason"].is_not_null().to_list() == [i == 4 for i in range(9)]
    assert "the model cannot read these inputs" in lines["reason"][4]
    assert any("is only supported for binary classification" in note for note in facts["notes"])
    assert "all subsets of columns" in facts["method"]


def test_what_a_file_says_beside_its_trees_is_followed_as_its_library_does(tmp_path: Path) -> None:
    import lightgbm
    import xgboost

    target, cost = (truth(2) == "yes").astype(int), truth(0)
    stopped = xgboost.XGBClassifier(n_estimators=20, max_depth=3, enable_categorical=True, early_stopping_rounds=2)
    stopped.fit(frame_of(TRAIN), target, eval_set=[(frame_of(TRAIN), 1 - target)], verbose=False)
    assert stopped.best_iteration + 1 < stopped.get_booster().num_boosted_rounds()
    stopped.save_model(tmp_path / "model.ubj")
    given = ["yes" if one else "no" for one in stopped.predict(frame_of(HELD))]
    lines, _ = explained(tmp_path, given, file=tmp_path / "model.ubj", outputs=["no", "yes"])
    assert lines["reason"].to_list() == [None] * 9  # the trees to the best round
    booster = stopped.get_booster()
    booster.set_attr(scikit_learn=None)
    booster.save_model(tmp_path / "booster.ubj")
    margins = booster.predict(xgboost.DMatrix(frame_of(HELD), enable_categorical=True), output_margin=True)
    lines, _ = explained(tmp_path, [None] * 9, file=tmp_path / "booster.ubj", outputs=["no", "yes"])
    assert lines["reason"].to_list() == [None] * 9  # all trees
    assert lines["output"].to_numpy().ravel() == pytest.approx(margins, rel=1e-5)
    root = lightgbm.LGBMRegressor(n_estimators=5, num_leaves=5, verbose=-1, reg_sqrt=True).fit(frame_of(TRAIN), cost)
    root.booster_.save_model(tmp_path / "model.txt")
    lines, facts = explained(tmp_path, root.predict(frame_of(HELD)), file=tmp_path / "model.txt", classes=False)
    assert (lines["reason"].to_list(), facts["unit"]) == ([None] * 9, "margin")


def test_what_an_input_without_missing_values_reads_in_their_place_is_noted(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    kinds = {"age": TensorProto.INT64, "owner": TensorProto.BOOL}
    nodes = [helper.make_node("Cast", [name], [f"{name}_number"], to=TensorProto.FLOAT) for name in kinds]
    nodes.append(helper.make_node("Add", [f"{name}_number" for name in kinds], ["cost"]))
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("cost", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "sums", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    rows = HELD.with_columns(pl.lit(None, dtype=pl.Float64).alias("age"), pl.lit(True).alias("owner"))
    lines, facts = explained(
        tmp_path, [1.0] * 9, file=tmp_path / "model.onnx", rows=rows, classes=False, features=("age", "owner")
    )
    assert lines["reason"].null_count() == 9, lines["reason"].to_list()
    assert [note.split(":")[0] for note in facts["notes"]] == ["age", "owner"]
    assert "a missing value or a level that is not listed is 0" in facts["notes"][0]

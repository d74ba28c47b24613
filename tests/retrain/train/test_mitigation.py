"""Weights and draws that make group and label independent, swapped texts, and the trade-off of a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from retrain.envelope import Plan
from retrain.errors import RecipeError
from retrain.train.config import Recipe
from retrain.train.errors import DataError
from retrain.train.mitigation.curve import held_back, point
from retrain.train.mitigation.keys import METHODS, Mitigation
from retrain.train.mitigation.texts import as_cells, weighed, with_swapped
from retrain.train.mitigation.weights import drawn_rows, groups_of, independent_weights
from retrain.train.tabular.fair import fair_rows
from retrain.train.tabular.model import load_table
from retrain.train.tabular.recipe import TableRunConfig
from retrain.train.tabular.rows import as_texts
from retrain.train.tabular.run import train
from tests.retrain.lending import spec
from tests.retrain.train import tiny
from tests.retrain.train.tabular.loans import COLUMNS, PURPOSES, loans, recipe
from tests.retrain.train.tiny import dataset


def biased(count: int, seed: int = 0) -> pl.DataFrame:
    """Curated rows whose label and purpose go with the sex, which is no input."""
    frame = loans(count, seed)
    woman = (frame["purpose"].is_in(PURPOSES[2:]) | (frame["branch"] == "1")).fill_null(value=False)
    return frame.select(
        as_texts(frame, COLUMNS).alias("text"), pl.col("repaid").alias("label"),
        pl.when(woman).then(pl.lit("f")).otherwise(pl.lit("m")).alias("protected_sex"),
    )  # fmt: skip


def test_weights_are_those_of_the_paper_and_make_group_and_label_independent() -> None:
    # By hand, with the formula of Kamiran and Calders (2012): P(group) P(label) / P(group, label).
    group = pl.Series(["m"] * 5 + ["f"] * 5)
    label = pl.Series(["+"] * 4 + ["-"] + ["+"] * 2 + ["-"] * 3)
    weights = independent_weights(group, label)
    expected = {("m", "+"): 0.75, ("m", "-"): 2.0, ("f", "+"): 1.5, ("f", "-"): 2 / 3}
    assert weights.tolist() == pytest.approx([expected[cell] for cell in zip(group, label, strict=True)])
    assert weights.sum() == pytest.approx(10)
    for name in ("m", "f"):  # each group has the label in the same weighted share
        of = (group == name).to_numpy()
        assert weights[of & (label == "+").to_numpy()].sum() / weights[of].sum() == pytest.approx(0.6)
    assert independent_weights(group, label, 0.0).tolist() == [1.0] * 10
    assert independent_weights(group, label, 0.5).tolist() == pytest.approx(((1 + weights) / 2).tolist())


def test_rows_are_drawn_as_often_as_they_weigh() -> None:
    weights = np.array([0.25, 1.5, 2.0, 1.0] * 5000)
    drawn = np.bincount(drawn_rows(weights, seed=1), minlength=len(weights)).reshape(-1, 4)
    assert drawn.mean(axis=0) == pytest.approx([0.25, 1.5, 2.0, 1.0], abs=0.03)
    assert (drawn[:, 2:] == [2, 1]).all()


def test_groups_are_levels_together_and_nobody_is_left_out() -> None:
    rows = pl.DataFrame({"protected_a": ["x", None], "protected_b": ["y", "z"]})
    assert groups_of(rows, ["a", "b"]).to_list() == ["x, y", "(missing), z"]


def test_a_weight_by_row_is_the_weighted_mean_of_its_losses() -> None:
    import torch

    from retrain.train.trainers import cell_loss

    rows = [{"label": 0, "weight": 2.0}, {"label": 1, "weight": 0.5}, {"label": 0, "weight": 0.5}]
    marked, _, cells = as_cells(rows, [])
    logits = torch.tensor([[1.0, 0.0], [0.2, 0.7], [0.0, 0.0]])
    outputs = type("Outputs", (), {"logits": logits})()
    found = cell_loss(None, cells)(outputs, torch.tensor([row["label"] for row in marked]))
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0]), reduction="none")
    assert found.item() == pytest.approx((losses * torch.tensor([2.0, 0.5, 0.5])).sum().item() / 3)


def test_texts_are_weighed_drawn_and_swapped() -> None:
    rows = pl.DataFrame({
        "text": ["he pays", "she pays", "it pays", "He owes"], "label": ["a", "a", "a", "b"],
        "protected_sex": ["m", "f", None, "m"],
    })  # fmt: skip
    examples = [{"input_ids": [1], "label": 0, "row": i} for i in range(4)]
    kept, facts = weighed(Mitigation(method="reweigh", by=("sex",)), rows, examples, 0)
    assert [row["weight"] for row in kept] == pytest.approx([1.5, 0.75, 0.75, 0.5])
    assert facts["weights"] == {"least": 0.5, "most": 1.5}
    drawn, facts = weighed(Mitigation(method="resample", by=("sex",)), rows, examples, 0)
    assert facts["rows_drawn"] == len(drawn)
    swapped = with_swapped(Mitigation(method="counterfactual_augmentation", by=("sex",), pairs=(("he", "she"),)), rows)
    assert swapped["text"].to_list()[4:] == ["she pays", "he pays", "She owes"]
    assert swapped["label"].to_list()[4:] == ["a", "a", "b"]


@pytest.mark.parametrize("method", ["reweigh", pytest.param("resample", marks=pytest.mark.slow)])
def test_a_tabular_run_shows_the_trade_off_of_its_mitigation(method: str, tmp_path: Path) -> None:
    mitigation = {"method": method, "by": ["sex"], "strength": 1.0, "positive": "yes"}
    config = TableRunConfig(
        run_id="r", base_dir=tmp_path, recipe=recipe("logistic_regression", mitigation=mitigation), columns=COLUMNS,
        train=dataset(biased(1200), tmp_path / "train.parquet"), eval=dataset(biased(99, 1), tmp_path / "eval.parquet"),
        labels=("no", "yes"), output_dir=tmp_path / "out", progress=tmp_path / "progress.jsonl",
    )  # fmt: skip
    (tmp_path / "config.json").write_text(config.file_text(tmp_path, tmp_path))
    train(tmp_path / "config.json")
    found: dict[str, Any] = json.loads((tmp_path / "out" / "adapter" / "run.json").read_text())["mitigation"]
    points = {p["setting"]: p for p in found["points"]}
    assert list(points) == ["strength 0", "strength 0.25", "strength 0.5", "strength 0.75", "strength 1"]
    assert found["chosen"] == "strength 1"
    assert points["strength 1"]["fairness"]["value"] < points["strength 0"]["fairness"]["value"] - 0.1
    assert points["strength 1"]["accuracy"]["value"] < points["strength 0"]["accuracy"]["value"]
    for p in points.values():
        assert p["accuracy"]["low"] < p["accuracy"]["value"] < p["accuracy"]["high"]


@pytest.mark.parametrize("metric", ["demographic_parity_difference", "equalized_odds_difference"])
def test_thresholds_are_the_library_s_and_survive_saving(metric: str, tmp_path: Path) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer

    from retrain.train.tabular import thresholds as module

    draw = np.random.default_rng(2)
    group = pl.Series(draw.choice(["f", "m"], 800).tolist())
    scores = np.clip(draw.normal(0.45, 0.2, 800) + 0.15 * (group == "m").to_numpy(), 0, 1)
    truth = pl.Series(np.where(draw.random(800) < scores, "yes", "no"))
    mitigation = Mitigation(method="threshold", by=("sex",), metric=metric)
    found = module.choose_thresholds(mitigation, "yes", scores, group, truth)
    constraint = metric.removesuffix("_difference")
    library = ThresholdOptimizer(
        estimator=module.given_scores(), constraints=constraint, prefit=True, predict_method="predict"
    ).fit(scores.reshape(-1, 1), (truth == "yes").to_numpy().astype(int), sensitive_features=group.to_numpy())
    expected = library._pmf_predict(scores.reshape(-1, 1), sensitive_features=group.to_numpy())[:, 1]
    ours = np.zeros(800)
    for name, rule in found.groups.items():
        at = (group == name).to_numpy()
        ours[at] = rule.share(scores[at])
    assert ours == pytest.approx(expected, abs=1e-12)
    again = module.GroupThresholds.read(json.loads(json.dumps(found.document)))
    assert again == found


def test_a_run_decides_by_group_and_serving_gives_the_group(tmp_path: Path) -> None:
    mitigation = {"method": "threshold", "by": ["sex"], "positive": "yes", "validation": 0.5}
    config = TableRunConfig(
        run_id="r", base_dir=tmp_path, recipe=recipe("lightgbm", mitigation=mitigation), columns=COLUMNS,
        train=dataset(biased(1600), tmp_path / "train.parquet"), eval=dataset(biased(99, 1), tmp_path / "eval.parquet"),
        labels=("no", "yes"), output_dir=tmp_path / "out", progress=tmp_path / "progress.jsonl",
    )  # fmt: skip
    (tmp_path / "config.json").write_text(config.file_text(tmp_path, tmp_path))
    train(tmp_path / "config.json")
    folder = tmp_path / "out" / "adapter"
    points = json.loads((folder / "run.json").read_text())["mitigation"]["points"]
    assert points[-1]["fairness"]["value"] < points[0]["fairness"]["value"] / 2
    model, held = load_table(folder), loans(400, seed=5)
    group = ["f", "m", None, "x"] * 100
    answers = model.predict(held.with_columns(sex=pl.Series(group)))
    assert answers == model.predict(held.with_columns(sex=pl.Series(group)).to_dicts())
    assert answers == model.predict(held.with_columns(sex=pl.Series(group)).to_pandas())
    best = [model.labels[i] for i in model.scores(held).argmax(axis=1)]
    assert [answers[i] for i in range(2, 400, 4)] == best[2::4]  # a group that is not known is decided as before
    assert [answers[i] for i in range(3, 400, 4)] == best[3::4]
    assert answers != best
    with pytest.raises(DataError, match="column 'sex' is missing; this model decides by group"):
        model.predict(held)


def test_the_rows_of_a_curve_are_a_share_of_each_group_and_label() -> None:
    rows = biased(400)
    group = rows["protected_sex"]
    held = held_back(rows, group, 0.25, seed=3)
    shares = rows.with_columns(pl.Series("held", held)).group_by("protected_sex", "label").agg(pl.col("held").mean())
    assert shares["held"].to_list() == pytest.approx([0.25] * 4, abs=0.05)
    one = point(Mitigation(method="reweigh", by=("sex",), positive="yes"), "x", group[:5], ["yes"] * 5, ["yes"] * 5)
    assert "fewer than two groups" in one["fairness"]["reason"]


def test_no_class_is_favoured_that_nobody_declared(tmp_path: Path) -> None:
    group, answers = pl.Series(["f", "m"] * 60), ["no", "yes"] * 60
    one = point(Mitigation(method="reweigh", by=("sex",)), "x", group, answers, answers)
    assert (one["positive"], one["fairness"]["value"]) == (None, None)
    assert "name it, such as `positive: no`, in retrain.recipe.mitigation.positive" in one["fairness"]["reason"]
    one = point(Mitigation(method="reweigh", by=("sex",), positive="yes"), "x", group, answers, answers)
    assert (one["positive"], one["fairness"]["value"]) == ("yes", 1.0)
    config = TableRunConfig(
        run_id="r", base_dir=tmp_path, recipe=recipe("lightgbm", mitigation={"method": "threshold", "by": ["sex"]}),
        columns=COLUMNS, train=dataset(biased(200), tmp_path / "train.parquet"), labels=("no", "yes"),
        eval=dataset(biased(99, 1), tmp_path / "eval.parquet"), output_dir=tmp_path / "out",
        progress=tmp_path / "progress.jsonl",
    )  # fmt: skip
    rows = biased(200)
    with pytest.raises(DataError, match="no positive class is declared; name it"):
        fair_rows(config, rows, rows, lambda *_: None)


WRONG = [
    ({"method": "threshold", "by": ["sex"]}, "which a text does not tell; choose from reweigh, resample"),
    ({"method": "adversarial", "by": ["sex"]}, "which no recipe here makes or serves; choose from"),
    ({"method": "reweigh"}, "is missing; name a column with role protected"),
    ({"method": "reweigh", "by": ["sex"], "pairs": [["he", "she"]]}, "swaps no words; leave it out"),
    ({"method": "counterfactual_augmentation", "by": ["sex"]}, "is missing; write the pairs"),
    ({"method": "counterfactual_augmentation", "by": ["sex"], "pairs": [["he", "He"]]}, "of one term"),
    ({"method": "counterfactual_augmentation", "by": ["sex"], "pairs": [["he", "she"]], "strength": 0.5}, "has none"),
]  # fmt: skip


@pytest.mark.parametrize(("mitigation", "words"), WRONG)
def test_a_mitigation_that_does_not_fit_is_refused_with_what_does(mitigation: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Recipe.model_validate({"base_model": "./m", "task": "sequence_classification", "mitigation": mitigation})


@pytest.mark.parametrize(
    ("mitigation", "words"),
    [
        ({"metric": "mean_error_difference"}, "metric: 'mean_error_difference' is not measured on labels alone"),
        ({"metric": "mean_score_ratio"}, "metric: 'mean_score_ratio' is not measured on labels alone"),
        ({"metric": "demographic_parity"}, "'demographic_parity' is no fairness metric; did you mean demographic_par"),
        ({"by": ["sex", "sex"]}, "by[1]: 'sex' stands there already"),
        ({"by": ["area"]}, "by[0]: 'area' only guesses at membership"),
    ],
)  # fmt: skip
def test_a_mitigation_whose_trade_off_nobody_could_read_is_refused(mitigation: dict[str, Any], words: str) -> None:
    proxy = {"shares": {"north": {"a": 0.9, "b": 0.1}, "south": {"a": 0.2, "b": 0.8}}}
    groups = {
        "sex": {"role": "protected", "type": "category"},
        "area": {"role": "protected", "type": "category", "proxy": proxy},
    }
    chosen = recipe("lightgbm").model_dump(mode="json", exclude_defaults=True)
    chosen["mitigation"] = {"method": "reweigh", "by": ["sex"], **mitigation}
    with pytest.raises(RecipeError) as refused:
        Plan.of(spec("lightgbm", columns=groups, recipe=chosen))
    assert words in refused.value.message


def test_a_recipe_of_numbers_or_answers_has_no_mitigation() -> None:
    with pytest.raises(ValidationError, match="no method fits tabular_regression: leave mitigation out"):
        recipe("ridge", regression=True, mitigation={"method": "reweigh", "by": ["sex"]})
    with pytest.raises(ValidationError, match="no method fits causal_lm"):
        Recipe.model_validate(
            {"base_model": "./m", "task": "causal_lm", "mitigation": {"method": "reweigh", "by": ["a"]}}
        )
    assert METHODS["threshold"].caution


@pytest.mark.parametrize(
    "method",
    ["reweigh", pytest.param("resample", marks=pytest.mark.slow),
     pytest.param("counterfactual_augmentation", marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_text_run_trains_with_its_mitigation_and_says_so(tiny_base: Path, method: str, tmp_path: Path) -> None:
    from retrain.train.run import train as train_texts

    rows = tiny.messages(tiny.OLD, 120, seed=1)
    sex = pl.Series(
        "protected_sex", ["f" if name in tiny.OLD[:2] and i % 3 else "m" for i, name in enumerate(rows["label"])]
    )
    pairs = [["gone", "here"]] if method == "counterfactual_augmentation" else []
    mitigation = {"method": method, "by": ["sex"], "pairs": pairs}
    config = tiny.run_config(
        tmp_path, tiny_base, rows.with_columns(sex), tiny.messages(tiny.OLD, 20, seed=2), labels=list(tiny.OLD),
        recipe={"mitigation": mitigation, "epochs": 2},
    )  # fmt: skip
    train_texts(config)
    found = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert found["mitigation"]["method"] == method
    assert np.isfinite(found["loss"]).all()
    if method == "reweigh":
        assert found["mitigation"]["weights"]["most"] > 1.2
    elif method == "counterfactual_augmentation":
        assert found["mitigation"]["rows_added"] == sum("gone" in text for text in rows["text"])

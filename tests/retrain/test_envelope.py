"""Which KPIs a floor of the envelope may name, and how a wrong recipe is told."""

from typing import Any

import polars as pl
import pytest

from monitor.kpi import KPIS
from retrain.envelope import GATED, Plan, breaches
from retrain.errors import RecipeError
from tests.retrain.world import spec


@pytest.mark.parametrize("name", GATED)
def test_what_a_floor_may_name_is_measured_from_answers_and_truth_alone(name: str) -> None:
    held_out = pl.DataFrame({"prediction": ["a", "b", "a"], "outcome": ["a", "b", "b"]})
    assert KPIS[name].compute(held_out).value is not None
    floor = spec("./base", envelope={"kpi_floor": {name: 0.5}})
    assert breaches(Plan.of(floor)) == ()


RECIPES: list[tuple[dict[str, Any], str, str]] = [
    ({"epoch": 3}, "retrain.recipe.epoch", "did you mean epochs?"),
    ({"epochs": "many"}, "retrain.recipe.epochs", "write a number"),
    ({"r": 0}, "retrain.recipe.r", "is 0; give at least 1"),
    ({"task": "classification"}, "retrain.recipe.task", "did you mean sequence_classification?"),
    ({"replay": "half"}, "retrain.recipe.replay", "write a mapping with the keys share, rows"),
    ({"replay": {"share": 2}}, "retrain.recipe.replay.share", "give at most 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "words"), RECIPES, ids=[c[1] for c in RECIPES])
def test_a_wrong_recipe_is_told_by_the_keys_of_the_spec(change: dict[str, Any], field: str, words: str) -> None:
    good = spec("./base")
    assert good.retrain is not None
    wrong = good.model_copy(
        update={"retrain": good.retrain.model_copy(update={"recipe": {**good.retrain.recipe, **change}})}
    )
    with pytest.raises(RecipeError) as refused:
        Plan.of(wrong)
    told = {problem["field"]: problem["reason"] for problem in refused.value.facts["problems"]}
    assert words in told[field], told
    assert field in refused.value.message
    assert "Input should" not in str(told)


@pytest.mark.parametrize("name", ["roc_auc", "latency_p95", "rmse", "acuracy"])
def test_a_floor_no_gate_can_measure_is_outside_the_envelope_before_a_run_starts(name: str) -> None:
    found = breaches(Plan.of(spec("./base", envelope={"kpi_floor": {name: 0.5}})))
    assert len(found) == 1
    assert f"kpi_floor names '{name}', which no gate can measure; choose from accuracy" in found[0].reason

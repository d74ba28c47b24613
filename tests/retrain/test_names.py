"""Names in a recipe and its envelope that mean nothing are refused when a spec is applied, with what to choose from."""

from typing import Any

import pytest

from retrain.envelope import Plan
from retrain.errors import RecipeError
from retrain.names import check_idle, check_names
from tests.retrain.world import spec

WRONG: tuple[tuple[dict[str, Any], dict[str, Any], str, str], ...] = (
    ({"revision": "abc"}, {}, "recipe.revision", "base_model is a folder, which has none"),
    ({}, {"methods": ["qlora", "qlroa"]}, "envelope.methods", "which is none; did you mean qlora?; choose from qlora"),
    ({}, {"revisions": {"./bsae": ["sha256:1"]}}, "envelope.revisions", "did you mean ./base?; choose from ./base"),
    ({}, {"sources": ["evnts"]}, "envelope.sources", "leaves out events"),
    ({"start": "bst"}, {}, "recipe.start", "did you mean best?"),
    ({"serve": "merge"}, {}, "recipe.serve", "did you mean merged?"),
    ({"serve": "merged", "method": "full"}, {}, "recipe.serve", "is served as it is; leave it out"),
    ({"serve": "merged", "method": "prompt_tuning"}, {}, "recipe.serve", "no part of any weight; leave it out"),
    ({"serve": "merged", "method": "prefix_tuning"}, {}, "recipe.serve", "no part of any weight; leave it out"),
)  # fmt: skip


@pytest.mark.parametrize(("recipe", "envelope", "field", "words"), WRONG)
def test_a_name_that_means_nothing_is_refused_with_the_choices(
    recipe: dict[str, Any], envelope: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        check_names(Plan.of(spec("./base", recipe=recipe, envelope=envelope)))
    assert words in str(refused.value)
    assert f"retrain.{field}" in str(refused.value)


def test_names_that_mean_something_pass() -> None:
    envelope = {
        "methods": ["lora", "qlora"],
        "revisions": {"./base": ["sha256:1"]},
        "sources": ["events", "intents-2026"],
    }
    check_names(Plan.of(spec("./base", envelope=envelope)))
    check_names(Plan.of(spec("org/base", recipe={"revision": "060db64"})))


IDLE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"temperature": 4}, "without teacher: champion; add that, or leave temperature out"),
    ({"teacher_weight": 0.9}, "without teacher: champion"),
    ({"beta": 0.3}, "without task: dpo"),
    ({"virtual_tokens": 8, "method": "lora"}, "without method: prompt_tuning or prefix_tuning"),
    ({"validation": 0.3}, "without early_stopping, or start: best"),
    ({"validation": 0.3, "start": "best"}, ""),
    ({"temperature": 4, "teacher": "champion"}, ""),
    ({"temperature": 2, "virtual_tokens": 20, "beta": 0.1}, ""),  # defaults
)


@pytest.mark.parametrize(("recipe", "words"), IDLE)
def test_a_key_that_does_nothing_is_refused_with_the_one_that_it_needs(recipe: dict[str, Any], words: str) -> None:
    declared = spec("./base", recipe=recipe)
    assert declared.retrain is not None
    read = Plan.of(declared).recipe
    if not words:
        check_idle(declared.retrain.recipe, read)
        return
    with pytest.raises(RecipeError, match=words) as refused:
        check_idle(declared.retrain.recipe, read)
    assert refused.value.facts["field"] == f"retrain.recipe.{next(iter(recipe))}"

from pathlib import Path

import pytest
from pydantic import ValidationError

from retrain.train.config import Recipe, RunConfig
from retrain.train.config_file import load_config
from retrain.train.errors import ConfigFileError
from tests.retrain.train import tiny


def test_a_hub_id_without_a_revision_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"is missing, and base_model 'org/model' is a hub id; add revision"):
        Recipe(base_model="org/model", task="causal_lm")


@pytest.mark.parametrize("path", ["/models/base", "./base", "../base", "~/base"])
def test_a_path_needs_no_revision(path: str) -> None:
    assert Recipe(base_model=path, task="causal_lm").is_path


def test_a_pinned_hub_id_is_accepted() -> None:
    assert not Recipe(base_model="org/model", revision="4f2c", task="causal_lm").is_path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", 0),
        ("learning_rate", 0),
        ("epochs", 0),
        ("batch_size", 0),
        ("lora_dropout", 1.0),
        ("method", "bitfit"),
        ("x", 1),
    ],
)
def test_a_recipe_outside_its_bounds_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Recipe.model_validate({"base_model": "./b", "task": "causal_lm", field: value})


def test_a_label_of_class_weights_has_one_weight_in_whichever_unicode_form() -> None:
    given = {"base_model": "./b", "task": "sequence_classification"}
    found = Recipe.model_validate(given | {"class_weights": {"cafe\u0301": 2}})
    assert found.class_weights == {"caf\u00e9": 2}
    with pytest.raises(ValidationError, match="composed and decomposed"):
        Recipe.model_validate(given | {"class_weights": {"cafe\u0301": 2, "caf\u00e9": 3}})


def test_labels_must_be_listed_once_and_only_for_classification(tmp_path: Path) -> None:
    path = tiny.run_config(tmp_path, tmp_path, tiny.messages(tiny.OLD, 4), tiny.messages(tiny.OLD, 4))
    for labels, words in ((["a"], "fewer than two"), (["a", "a"], "repeated")):
        with pytest.raises(ConfigFileError, match=words):
            load_config(tiny.changed(path, labels=labels), RunConfig)
    recipe = tiny.read(path)["recipe"] | {"task": "causal_lm"}
    with pytest.raises(ConfigFileError, match="causal_lm run has none"):
        load_config(tiny.changed(path, labels=["a", "b"], recipe=recipe), RunConfig)


def test_a_bad_config_file_names_field_and_value(tmp_path: Path) -> None:
    path = tiny.run_config(tmp_path, tmp_path, tiny.messages(tiny.OLD, 4), tiny.messages(tiny.OLD, 4))
    with pytest.raises(ConfigFileError, match=r"threads: 0: Input should be greater than or equal to 1"):
        load_config(tiny.changed(path, threads=0), RunConfig)
    with pytest.raises(ConfigFileError, match="does not exist"):
        load_config(tmp_path / "none.json", RunConfig)


def test_the_digest_changes_with_the_recipe_and_not_with_where_progress_goes(tmp_path: Path) -> None:
    path = tiny.run_config(tmp_path, tmp_path, tiny.messages(tiny.OLD, 4), tiny.messages(tiny.OLD, 4))
    config = load_config(path, RunConfig)
    moved = config.model_copy(update={"progress": tmp_path / "elsewhere", "max_seconds": 5.0})
    other = config.model_copy(update={"recipe": config.recipe.model_copy(update={"seed": 1})})
    assert moved.digest() == config.digest() != other.digest()

"""What a recipe asks of a base's chat template is checked when the spec is applied."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrain.base_chat import check_chat
from retrain.errors import RecipeError
from retrain.train.config import Recipe
from tests.retrain.train.chat_bases import CHATML, MISTRAL, tokenizer


def recipe(**chat: Any) -> Recipe:
    return Recipe.model_validate({"base_model": "./x", "task": "causal_lm", "chat": chat})


@pytest.mark.parametrize(
    ("chat", "key", "value"),
    [
        ({"template": "base"}, "template", "base"), ({"system": "be brief"}, "system", "be brief"),
        ({"learn": "all"}, "learn", "all"),
    ],
)  # fmt: skip
def test_a_base_without_a_template_is_refused_where_one_is_asked_for(
    tmp_path: Path, chat: dict[str, str], key: str, value: str
) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    with pytest.raises(RecipeError, match=f"retrain.recipe.chat.{key}: is '{value}', and .*leave it out") as refused:
        check_chat(recipe(**chat), tmp_path)
    assert refused.value.facts == {"field": f"retrain.recipe.chat.{key}", "value": value}
    check_chat(recipe(), tmp_path)
    check_chat(recipe(template="none"), tmp_path)


def test_a_template_in_a_file_of_its_own_or_in_the_settings_is_asked_in_its_own_process(tmp_path: Path) -> None:
    for at, (family, template) in enumerate((("mistral", MISTRAL), ("chatml", CHATML))):
        folder = tmp_path / family
        tokenizer(family).save_pretrained(folder)
        if at == 0:  # as earlier releases of the library saved it
            (folder / "chat_template.jinja").unlink()
            settings = json.loads((folder / "tokenizer_config.json").read_text())
            (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    with pytest.raises(RecipeError, match=r"chat\.system: the chat template refuses .*roles must alternate") as refused:
        check_chat(recipe(system="be brief"), tmp_path / "mistral")
    assert refused.value.facts == {"field": "retrain.recipe.chat.system", "value": "be brief"}
    (tmp_path / "chatml" / "chat_template.jinja").write_text("{{ messages")
    with pytest.raises(RecipeError, match=r"chat\.template: the chat template of the base cannot be used") as refused:
        check_chat(recipe(), tmp_path / "chatml")
    assert refused.value.facts == {"field": "retrain.recipe.chat.template", "value": "auto"}

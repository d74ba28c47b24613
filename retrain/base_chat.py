"""Whether a base has a chat template that does what a recipe asks of it, checked when a spec is applied."""

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from core.process import answer_of, last_words
from retrain.base_tokenizer import has_template
from retrain.errors import RecipeError
from retrain.train.chat_keys import unusable
from retrain.train.config import Recipe
from retrain.train.weights import file_digest

ASK_S: Final = 120
FILES: Final = ("tokenizer_config.json", "tokenizer.json", "chat_template.jinja", "special_tokens_map.json")


def check_chat(recipe: Recipe, folder: Path) -> None:
    """Refuse a format that the base does not have, or that its template cannot do.

    Raises:
        RecipeError: names the key below `retrain.recipe.chat`, its value and what to write.
    """
    chat = recipe.chat
    if chat.template == "none":
        return
    if not has_template(folder):
        for name, given in (
            ("template", chat.template != "auto"), ("system", chat.system is not None), ("learn", chat.learn != "last"),
        ):  # fmt: skip
            if given:
                raise _missing(name, getattr(chat, name), folder)
        return
    files = tuple(file_digest(folder / name) for name in FILES if (folder / name).is_file())
    if (found := _asked(folder, chat.model_dump_json(), files)) is not None:
        raise RecipeError(
            str(found["message"]), field=found.get("field", "retrain.recipe.chat.template"),
            value=found.get("value", chat.template),
        )  # fmt: skip


def _missing(name: str, value: str, folder: Path) -> RecipeError:
    return RecipeError(
        f"retrain.recipe.chat.{name}: is {value!r}, and {folder} has no chat template (chat_template.jinja, or "
        "chat_template in tokenizer_config.json); leave it out, so that texts are learned as they are, or choose a "
        "base that was made for conversations",
        field=f"retrain.recipe.chat.{name}", value=value,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _asked(folder: Path, chat: str, files: tuple[str, ...]) -> dict[str, Any] | None:  # noqa: ARG001  part of the key
    try:
        answer = answer_of("retrain.train.chat_check", [str(folder), chat], limit_s=ASK_S)
        found: dict[str, Any] | None = answer["problem"]
    except subprocess.TimeoutExpired:
        return {"message": unusable(f"it was not rendered within {ASK_S} s")}
    except subprocess.CalledProcessError as error:
        return {"message": unusable(f"the tokenizer cannot be loaded ({last_words(error)})")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"message": unusable(f"it could not be looked at ({type(error).__name__})")}
    return found

"""Whether training can go on from what an earlier run saved: the same method, in the same shape. Reads JSON only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from retrain.train.chat_keys import Chat
from retrain.train.config import Recipe
from retrain.train.kinds import classifies

SAME: Final[dict[str, tuple[str, ...]]] = {  # by method: keys of the recipe that must be as they were
    "qlora": ("r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora"),
    "lora": ("r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora"),
    "adalora": ("r", "lora_alpha", "lora_dropout"),
    "prompt_tuning": ("virtual_tokens",),
    "prefix_tuning": ("virtual_tokens",),
    "ia3": (),
    "full": (),
}
ABSENT: Final = {"use_dora": False, "use_rslora": False, "virtual_tokens": 20, "method": "qlora"}


def saved_recipe(folder: Path) -> dict[str, Any]:
    """The recipe that a saved adapter or model was trained with; of an earlier release with the defaults of then."""
    record = folder / "run.json"
    if record.is_file():
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))["config"]["recipe"]
        return ABSENT | found
    config = folder / "adapter_config.json"
    return ABSENT | (json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {})


def saved_chat(folder: Path) -> Chat:
    """The format that a saved adapter or model was trained with; earlier releases knew plain texts only."""
    return Chat.model_validate(saved_recipe(folder).get("chat", {"template": "none"}))


def adapts_words(recipe: Mapping[str, Any]) -> bool:
    """Whether training by a recipe, as JSON, adapts the table of words as it does the linear layers.

    Classifiers alone, without a teacher: a student that started anew learned worse so.
    """
    wanted = recipe.get("train_words", False) and not recipe.get("teacher")
    return bool(wanted and recipe["method"] in ("qlora", "lora") and classifies(recipe["task"]))


def differences(parent: Path, recipe: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """Key of the recipe, its value now and its value then, for each that keeps training from going on.

    AdaLoRA's ranks were given away when its run ended, so another run of it starts afresh.
    """
    saved, now = saved_recipe(parent), recipe.model_dump()
    for name in ("method", *SAME[recipe.method]):
        if now[name] != saved.get(name):
            yield name, now[name], saved.get(name)
    if adapts_words({"task": recipe.task} | saved) and not adapts_words(now):  # one without adapted words may get them
        yield "train_words", False, True
    if recipe.method == "adalora" and saved["method"] == "adalora":
        yield "method", "adalora", "adalora with the ranks that its run left"


BESIDE: Final = "adapter"  # folder beside a merged model


def adapter_part(folder: Path) -> Path:
    """Where the adapter of what a run saved lies: beside the model that it was merged into, or in the folder itself."""
    return folder / BESIDE if is_merged(folder) else folder


def is_merged(folder: Path) -> bool:
    """Whether a folder holds a base with an adapter merged into it, and the adapter beside it."""
    return (folder / BESIDE / "adapter_config.json").is_file() and (folder / "config.json").is_file()


def is_whole(folder: Path) -> bool:
    """Whether a folder is loaded as a whole model, as `full` saves it, or one with its adapter merged into it."""
    return not (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file()


def is_quantised(adapter: Path | None) -> bool:
    """Whether what lies in a folder was trained on the base in 4 bits, and must be loaded so."""
    return adapter is None or (saved_recipe(adapter)["method"] == "qlora" and not is_merged(adapter))

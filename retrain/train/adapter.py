"""Attach what a method trains: a fresh adapter, a parent's that training continues, or nothing but the whole model."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)
from peft.utils import load_peft_weights, set_peft_model_state_dict
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from retrain.train.base_model import quiet
from retrain.train.config import Recipe
from retrain.train.errors import AdapterMismatchError, DataError
from retrain.train.head import Head
from retrain.train.shape import adapts_words, differences

Trained = PreTrainedModel | PeftModel
Shared = dict[str, Any]
ADALORA_START: Final = 1.5  # times the rank that is left at the end


def attach_adapter(model: PreTrainedModel, recipe: Recipe, parent: Path | None, head: Head | None = None) -> Trained:
    """What the recipe's method trains; for classification the head is trained and saved with it, whole.

    With a parent adapter (a champion on the same base) training continues from its weights, so what it learned is not
    learned again; its head rows must already lie in the model (`copy_parent_head`).

    Args:
        model: the base. With `full` all of it is trained, and a parent was loaded in its place.
        recipe: its method, with ranks and sizes.
        parent: folder of an adapter of the same shape.
        head: of a classifier; None for a causal model.

    Raises:
        AdapterMismatchError: the parent does not fit.
        DataError: the method does not go with this architecture.
    """
    if recipe.method == "full":
        return model.requires_grad_(True)
    shared: Shared = {
        "task_type": TaskType.SEQ_CLS if head else TaskType.CAUSAL_LM,
        "modules_to_save": list(head.modules) if head else None,
    }
    layers = _with_words(model, head) if adapts_words(recipe.model_dump()) else _layers(head)
    values = _head_values(model, head)
    try:
        with quiet():
            peft_model = cast(PeftModel, get_peft_model(model, _METHODS[recipe.method](recipe, shared, layers)))
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        raise DataError(
            f"recipe.method: {recipe.method} does not go with {type(model).__name__} ({error}); use lora",
            field="recipe.method",
        ) from error
    if parent is not None:
        _continue(peft_model, parent, head, values)
    return peft_model


def _head_values(model: PreTrainedModel, head: Head | None) -> dict[str, torch.Tensor]:
    return {
        f"base_model.model.{name}": value.detach().cpu().clone()
        for module in (head.modules if head else ())
        for name, value in model.get_submodule(module).named_parameters(prefix=module)
    }


def _continue(model: PeftModel, parent: Path, head: Head | None, values: dict[str, torch.Tensor]) -> None:
    of_head = tuple(f"base_model.model.{module}." for module in (head.modules if head else ()))
    weights = {k: v for k, v in load_peft_weights(str(parent), device="cpu").items() if not k.startswith(of_head or ())}
    result: Any = set_peft_model_state_dict(model, weights | values)
    if result.unexpected_keys or not weights:
        raise AdapterMismatchError(
            f"parent_adapter: {parent} does not fit this base ({result.unexpected_keys[:3]}); "
            "drop parent_adapter to start from the base",
            parent_adapter=str(parent),
        )


def _layers(head: Head | None) -> Shared:
    """Every linear layer but those of the head. PEFT leaves out `score` and `classifier` only where they are layers."""
    plain = head is None or (len(head.modules) == 1 and head.modules[0] == head.output)
    outside = None if head is None or plain else rf"({'|'.join(map(_escaped, head.modules))})(\..*)?"
    return {"target_modules": "all-linear"} | ({"exclude_modules": outside} if outside else {})


def _with_words(model: PreTrainedModel, head: Head | None) -> Shared:
    """Every linear layer but those of the head, by its name, and the table of words, where there is one."""
    outside = tuple(f"{name}." for name in (head.modules if head else ()))
    table = model.get_input_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if (isinstance(module, torch.nn.Linear | Conv1D) and not f"{name}.".startswith(outside))
        or (module is table and isinstance(module, torch.nn.Embedding))
    ]
    return {"target_modules": names}


def _escaped(name: str) -> str:
    return name.replace(".", r"\.")


def _lora(recipe: Recipe, shared: Shared, layers: Shared) -> PeftConfig:
    return LoraConfig(
        r=recipe.r, lora_alpha=recipe.lora_alpha, lora_dropout=recipe.lora_dropout, bias="none",
        use_dora=recipe.use_dora, use_rslora=recipe.use_rslora, **layers, **shared,
    )  # fmt: skip


def _adalora(recipe: Recipe, shared: Shared, layers: Shared) -> PeftConfig:
    # The schedule of ranks is set when the trainer knows its steps (`RankSchedule`).
    return AdaLoraConfig(
        init_r=math.ceil(recipe.r * ADALORA_START), target_r=recipe.r, lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout, tinit=1, tfinal=1, total_step=4, **layers, **shared,
    )  # fmt: skip


def _ia3(_recipe: Recipe, shared: Shared, layers: Shared) -> PeftConfig:
    return IA3Config(feedforward_modules=[], **layers, **shared)


def _prompt(recipe: Recipe, shared: Shared, _layers: Shared) -> PeftConfig:
    return PromptTuningConfig(num_virtual_tokens=recipe.virtual_tokens, **shared)


def _prefix(recipe: Recipe, shared: Shared, _layers: Shared) -> PeftConfig:
    return PrefixTuningConfig(num_virtual_tokens=recipe.virtual_tokens, **shared)


_METHODS: Final[dict[str, Callable[[Recipe, Shared, Shared], PeftConfig]]] = {
    "qlora": _lora, "lora": _lora, "adalora": _adalora, "ia3": _ia3, "prompt_tuning": _prompt,
    "prefix_tuning": _prefix,
}  # fmt: skip


def check_parent(parent: Path, recipe: Recipe, base_digest: str) -> None:
    """Check that a parent adapter has the recipe's shape and was trained on the same base.

    Raises:
        AdapterMismatchError: method, rank, scale or base differ.
    """
    for name, wanted, found in differences(parent, recipe):
        raise AdapterMismatchError(
            f"recipe.{name}: {wanted} is not the {found} of the parent adapter {parent}; "
            f"use {found}, or drop parent_adapter to start from the base",
            field=f"recipe.{name}",
        )
    record = parent / "run.json"
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))["digests"]["base"]
        if found != base_digest:
            raise AdapterMismatchError(
                f"base_dir: digest {base_digest} is not the base {found} of the parent adapter {parent}; "
                "use that base, or drop parent_adapter",
                field="base_dir",
            )

"""Attach a LoRA adapter: a fresh one, or a parent's that training continues."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from transformers import (
    PreTrainedModel,
)

from retrain.train.base_model import quiet
from retrain.train.config import Recipe
from retrain.train.errors import AdapterMismatchError
from retrain.train.head import HEAD
from retrain.train.kinds import KINDS

LORA_FIELDS = ("r", "lora_alpha", "lora_dropout")


def attach_adapter(model: PreTrainedModel, recipe: Recipe, parent: Path | None) -> PeftModel:
    """LoRA on every linear layer; for classification the head is trained and saved with it.

    With a parent adapter (a champion on the same base) training continues from its low-rank weights, so what it
    learned is not learned again; its head rows must already lie in the model (`copy_parent_head`).
    """
    classification = KINDS[recipe.task].classifies
    head = model.get_submodule(HEAD).weight if classification else None
    lora = LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        bias="none",
        target_modules="all-linear",
        modules_to_save=[HEAD] if classification else None,
        task_type=TaskType.SEQ_CLS if classification else TaskType.CAUSAL_LM,
    )
    with quiet():
        peft_model = cast(PeftModel, get_peft_model(model, lora))
    if parent is not None:
        weights = {k: v for k, v in load_peft_weights(str(parent), device="cpu").items() if ".lora_" in k}
        if classification:
            weights[f"base_model.model.{HEAD}.weight"] = cast(torch.Tensor, head).detach().cpu()
        result: Any = set_peft_model_state_dict(peft_model, weights)
        if result.unexpected_keys or not any(".lora_" in k for k in weights):
            raise AdapterMismatchError(
                f"parent_adapter: {parent} does not fit this base ({result.unexpected_keys[:3]}); "
                "drop parent_adapter to start from the base",
                parent_adapter=str(parent),
            )
    return peft_model


def check_parent(parent: Path, recipe: Recipe, base_digest: str) -> None:
    """Check that a parent adapter has the recipe's shape and was trained on the same base.

    Raises:
        AdapterMismatchError: rank, scale or base differ.
    """
    saved = json.loads((parent / "adapter_config.json").read_text(encoding="utf-8"))
    for name in LORA_FIELDS:
        if saved.get(name) != getattr(recipe, name):
            raise AdapterMismatchError(
                f"recipe.{name}: {getattr(recipe, name)} is not the {saved.get(name)} of the parent adapter {parent}; "
                f"use {saved.get(name)}, or drop parent_adapter to start from the base",
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

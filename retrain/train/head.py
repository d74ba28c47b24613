"""The classification head: rows for new labels, and the rows of a parent adapter."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft.utils import load_peft_weights
from safetensors import safe_open
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
)

from monitor.levels import level

HEAD = "score"


def head_rows(base_dir: Path, names: dict[int, str]) -> dict[str, torch.Tensor]:
    """Rows of the saved classification head by label name; empty when the base has no head."""
    for path in sorted(base_dir.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            if f"{HEAD}.weight" in file.keys():  # noqa: SIM118  a safetensors file is no mapping
                weight = file.get_tensor(f"{HEAD}.weight")
                return {names[i]: weight[i] for i in range(len(weight)) if i in names}
    return {}


def new_labels(model: PreTrainedModel) -> list[int]:
    """Indices of the labels whose head row is still zero."""
    weight = cast(torch.Tensor, model.get_submodule(HEAD).weight)
    return [int(i) for i in torch.nonzero(weight.abs().sum(dim=1) == 0).flatten()]


@torch.no_grad()
def start_new_rows(
    model: PreTrainedModel, examples: Sequence[dict[str, Any]], collate: DataCollatorWithPadding, batch_size: int = 128
) -> list[int]:
    """Start the head rows of new labels at their class means instead of at random.

    A new row is the mean pooled state of the label's examples minus the mean over all labels (each label counting
    once), scaled to the typical norm of the rows already there. A label without examples keeps a zero row.

    Returns:
        Indices of the rows that were new.
    """
    rows = new_labels(model)
    if not rows:
        return []
    head = cast(torch.nn.Linear, model.get_submodule(HEAD))
    count = head.weight.shape[0]
    sums = torch.zeros(count, head.in_features, device=head.weight.device)
    seen = torch.zeros(count, device=head.weight.device)
    model.train(False)
    backbone = model.base_model
    for start in range(0, len(examples), batch_size):
        batch = {k: v.to(head.weight.device) for k, v in collate(list(examples[start : start + batch_size])).items()}
        states = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        last = batch["attention_mask"].sum(dim=1) - 1
        pooled = states[torch.arange(len(states), device=states.device), last].float()
        pooled = torch.nn.functional.normalize(pooled, dim=1)
        sums.index_add_(0, batch["labels"], pooled)
        seen.index_add_(0, batch["labels"], torch.ones(len(pooled), device=pooled.device))
    present = seen > 0
    means = sums[present] / seen[present, None]
    centred = torch.zeros_like(sums)
    centred[present] = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    norms = head.weight.float().norm(dim=1)
    scale = float(norms[norms > 0].median()) if bool((norms > 0).any()) else 1.0
    for i in rows:
        head.weight[i] = (centred[i] * scale).to(head.weight)
    return rows


def copy_parent_head(model: PreTrainedModel, parent: Path, labels: Sequence[str]) -> None:
    """Put the champion's head rows, by label name, into the model's head."""
    names = json.loads((parent / "labels.json").read_text(encoding="utf-8"))
    known = [level(str(name)) or str(name) for name in names]  # the parent may be older than `monitor.levels`
    weights = load_peft_weights(str(parent), device="cpu")
    weight = next(v for k, v in weights.items() if k.endswith(f"{HEAD}.weight"))
    fill_head(model, labels, dict(zip(known, weight, strict=True)))


@torch.no_grad()
def fill_head(model: PreTrainedModel, labels: Sequence[str], rows: dict[str, torch.Tensor]) -> None:
    """Head rows by label name; labels without a row get zeros."""
    weight = cast(torch.Tensor, model.get_submodule(HEAD).weight)
    weight.zero_()
    for i, name in enumerate(labels):
        if name in rows:
            weight[i] = rows[name].to(weight)

"""The classification head of any architecture: its modules, rows for new labels, and the rows of a parent.

A head is what the library's class puts behind the backbone: `score` of Llama, `classifier` of BERT, a dense layer and
`out_proj` of RoBERTa. It is found in the class, not in a table: of the model's own children those that are not the
backbone, and among them the last linear layer with a row per label.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
)

from monitor.levels import level
from retrain.train.errors import DataError
from retrain.train.weights import weight_files

MEAN_OF: Final = 32  # rows that the mean of a new label is taken over, at most; all of them cost as much as an epoch
POOLER: Final = "pooler"  # where a backbone has one, it belongs to what classifies


@dataclass(frozen=True, slots=True)
class Head:
    """Names within a model: the modules that are trained whole beside the adapter, and the layer of the labels."""

    modules: tuple[str, ...]
    output: str

    def linear(self, model: torch.nn.Module) -> torch.nn.Linear:
        return cast(torch.nn.Linear, model.get_submodule(self.output))


def find_head(model: PreTrainedModel, has: Callable[[str], bool] = lambda _: True) -> Head:
    """
    Args:
        model: a classifier; it may lie on the meta device.
        has: whether the base's files have a tensor of a module with this name. A pooler that they lack is new, and
            belongs to the head.

    Raises:
        DataError: the architecture has no linear layer with a row per label.
    """
    backbone = getattr(model, model.base_model_prefix, None)
    own = [(n, m) for n, m in model.named_children() if m is not backbone and any(True for _ in m.parameters())]
    found = [
        f"{name}.{below}".rstrip(".")
        for name, module in own
        for below, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == model.config.num_labels
    ]
    if backbone is None or not found:
        raise DataError(
            f"recipe.base_model: {type(model).__name__} has no linear layer with a row per label; choose another base",
            field="recipe.base_model",
        )
    names = [name for name, _ in own]
    if getattr(backbone, POOLER, None) is not None and not has(POOLER):
        names.append(f"{model.base_model_prefix}.{POOLER}")
    return Head(tuple(names), found[-1])


def head_of(config: PreTrainedConfig, base_dir: Path) -> Head:
    """The head of the library's class for a base, from its structure alone; no weight is made."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    names = [name for path in weight_files(base_dir) for name in _names(path)]
    return find_head(model, lambda module: any(f".{module}." in f".{name}" for name in names))


def _names(path: Path) -> list[str]:
    with safe_open(str(path), framework="pt") as file:
        return list(file.keys())


def head_rows(base_dir: Path, output: str, names: Mapping[int, str]) -> dict[str, tuple[torch.Tensor, float]]:
    """Row and bias of the base's saved output layer by label name; empty when the base has no such layer."""
    found: dict[str, torch.Tensor] = {}
    for path in weight_files(base_dir):
        with safe_open(str(path), framework="pt") as file:
            for part in ("weight", "bias"):
                if f"{output}.{part}" in file.keys():  # noqa: SIM118  a safetensors file is no mapping
                    found[part] = file.get_tensor(f"{output}.{part}")
    if "weight" not in found or len(found["weight"]) != len(names):
        return {}
    return _rows(found["weight"], found.get("bias"), [names[i] for i in sorted(names)])


def _rows(
    weight: torch.Tensor, bias: torch.Tensor | None, names: Sequence[str]
) -> dict[str, tuple[torch.Tensor, float]]:
    offsets = [0.0] * len(names) if bias is None else bias.float().tolist()
    return {name: (row, offset) for name, row, offset in zip(names, weight, offsets, strict=True)}


def new_labels(model: PreTrainedModel, head: Head) -> list[int]:
    """Indices of the labels whose head row is still zero."""
    weight = head.linear(model).weight
    return [int(i) for i in torch.nonzero(weight.abs().sum(dim=1) == 0).flatten()]


@torch.no_grad()
def start_new_rows(
    model: PreTrainedModel,
    head: Head,
    examples: Sequence[dict[str, Any]],
    collate: DataCollatorWithPadding,
    batch_size: int = 128,
) -> list[int]:
    """Start the head rows of new labels at their class means instead of at random, by the first rows of each label.

    A new row is the mean of what the output layer reads for the label's examples, minus the mean over all labels (each
    label counting once), scaled to the typical norm of the rows already there. A label without examples keeps a zero
    row.

    Returns:
        Indices of the rows that were new.
    """
    rows = new_labels(model, head)
    if not rows:
        return []
    layer = head.linear(model)
    count = layer.weight.shape[0]
    sums = torch.zeros(count, layer.in_features, device=layer.weight.device)
    seen = torch.zeros(count, device=layer.weight.device)
    model.train(False)
    examples = _first_of_each_label(examples)
    read: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    try:
        for start in range(0, len(examples), batch_size):
            batch = {
                k: v.to(layer.weight.device) for k, v in collate(list(examples[start : start + batch_size])).items()
            }
            read.clear()
            model(**{name: value for name, value in batch.items() if name != "labels"})
            pooled = torch.nn.functional.normalize(_of_texts(read[0], batch["attention_mask"]).float(), dim=1)
            sums.index_add_(0, batch["labels"], pooled)
            seen.index_add_(0, batch["labels"], torch.ones(len(pooled), device=pooled.device))
    finally:
        hook.remove()
    present = seen > 0
    means = sums[present] / seen[present, None]
    centred = torch.zeros_like(sums)
    centred[present] = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    norms = layer.weight.float().norm(dim=1)
    scale = float(norms[norms > 0].median()) if bool((norms > 0).any()) else 1.0
    for i in rows:
        layer.weight[i] = (centred[i] * scale).to(layer.weight)
    return rows


def _first_of_each_label(examples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `MEAN_OF` examples of each label, those of like length side by side so that little is padding."""
    seen: Counter[int] = Counter()
    kept = []
    for row in examples:
        seen[row["label"]] += 1
        if seen[row["label"]] <= MEAN_OF:
            kept.append(row)
    return sorted(kept, key=lambda row: len(row["input_ids"]))


def _of_texts(read: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One vector per text: as it is, or that of the last token where the layer reads every token; either padding."""
    if read.dim() == 2:
        return read
    places = torch.arange(mask.shape[1], device=mask.device) * mask
    return read[torch.arange(len(read), device=read.device), places.argmax(dim=1)]


@torch.no_grad()
def copy_parent_head(model: PreTrainedModel, head: Head, parent: Path, labels: Sequence[str]) -> None:
    """Put the champion's head into the model's: its inner layers whole, its output rows by label name."""
    names = json.loads((parent / "labels.json").read_text(encoding="utf-8"))
    known = [level(str(name)) or str(name) for name in names]  # the parent may be older than `monitor.levels`
    kept = {
        name.removeprefix("base_model.model."): value
        for name, value in load_file(str(parent / "adapter_model.safetensors")).items()
    }
    for module in head.modules:
        for name, value in model.get_submodule(module).named_parameters(prefix=module):
            if not name.startswith(f"{head.output}.") and name in kept:
                value.copy_(kept[name].to(value))
    fill_head(model, head, labels, _rows(kept[f"{head.output}.weight"], kept.get(f"{head.output}.bias"), known))


@torch.no_grad()
def fill_head(
    model: PreTrainedModel, head: Head, labels: Sequence[str], rows: Mapping[str, tuple[torch.Tensor, float]]
) -> None:
    """Head rows by label name; labels without a row get zeros."""
    layer = head.linear(model)
    layer.weight.zero_()
    if layer.bias is not None:
        layer.bias.zero_()
    for i, name in enumerate(labels):
        if name in rows:
            row, offset = rows[name]
            layer.weight[i] = row.to(layer.weight)
            if layer.bias is not None:
                layer.bias[i] = offset

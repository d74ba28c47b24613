"""Facts about an adapter file: does it hold anything, is it finite, does it change the base."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from core.canonical import digest
from retrain.train.shape import is_whole
from retrain.train.weights import check_adapter, file_digest, weight_files


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter file holds.

    `delta_norm` is the Frobenius norm of all updates (of LoRA scale x B A) together;
    `zero_updates` counts those that are nil.
    """

    sha256: str
    tensors: int
    parameters: int
    all_finite: bool
    updates: int
    zero_updates: int
    delta_norm: float | None


def adapter_facts(adapter_dir: Path) -> AdapterFacts:
    """Read an adapter file and describe it; `delta_norm` is None when a weight is not finite, and of a whole model.

    Raises:
        WeightsNotFoundError, UnsafeWeightsError: there is no safetensors adapter.
    """
    check_adapter(adapter_dir)
    files = weight_files(adapter_dir) if is_whole(adapter_dir) else [adapter_dir / "adapter_model.safetensors"]
    weights: dict[str, torch.Tensor] = {}
    for path in files:
        weights |= load_file(str(path))
    finite = all(bool(torch.isfinite(w).all()) for w in weights.values())
    norms = [] if is_whole(adapter_dir) else list(_updates(weights, adapter_dir / "adapter_config.json"))
    return AdapterFacts(
        sha256=file_digest(files[0]) if len(files) == 1 else digest({p.name: file_digest(p) for p in files}),
        tensors=len(weights),
        parameters=sum(w.numel() for w in weights.values()),
        all_finite=finite,
        updates=len(norms),
        zero_updates=sum(n == 0 for n in norms),
        delta_norm=sum(n * n for n in norms) ** 0.5 if finite and norms else None,
    )


def _updates(weights: Mapping[str, torch.Tensor], config: Path) -> Iterator[float]:
    """The norm of each update: scale x B A of LoRA, scale x B E A of AdaLoRA, l - 1 of IA3, the values of a prompt."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    scale = 1.0
    if settings.get("r"):
        scale = float(settings["lora_alpha"]) / float(settings["r"]) ** (0.5 if settings.get("use_rslora") else 1.0)
    for name, weight in weights.items():
        value = weight.double()
        if "lora_A" in name:
            other = weights[name.replace("lora_A", "lora_B")].double()
            if (ranks := weights.get(name.replace("lora_A", "lora_E"))) is not None:
                value = value * ranks.double()
            yield float((other @ value).norm()) * scale
        elif "ia3_l" in name:
            yield float((value - 1).norm())
        elif name.startswith("prompt_embeddings"):
            yield float(value.norm())

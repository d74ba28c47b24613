"""Facts about an adapter file: does it hold anything, is it finite, does it change the base."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from retrain.train.weights import check_adapter, file_digest


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter file holds.

    `delta_norm` is the Frobenius norm of all low-rank updates (scale x B A) together;
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
    """Read an adapter file and describe it; `delta_norm` is None when a weight is not finite.

    Raises:
        WeightsNotFoundError, UnsafeWeightsError: there is no safetensors adapter.
    """
    check_adapter(adapter_dir)
    path = adapter_dir / "adapter_model.safetensors"
    weights: Mapping[str, torch.Tensor] = load_file(str(path))
    settings = json.loads((adapter_dir / "adapter_config.json").read_text(encoding="utf-8"))
    scale = float(settings["lora_alpha"]) / float(settings["r"])
    finite = all(bool(torch.isfinite(w).all()) for w in weights.values())
    norms = [
        float((weights[name.replace("lora_A", "lora_B")].double() @ weight.double()).norm()) * scale
        for name, weight in weights.items()
        if "lora_A" in name
    ]
    return AdapterFacts(
        sha256=file_digest(path),
        tensors=len(weights),
        parameters=sum(w.numel() for w in weights.values()),
        all_finite=finite,
        updates=len(norms),
        zero_updates=sum(n == 0 for n in norms),
        delta_norm=sum(n * n for n in norms) ** 0.5 if finite else None,
    )

"""Checkpoints of what is trained, for every method alike: each trained tensor by name, and AdaLoRA's sense of ranks.

PEFT's own files leave out what training needs to go on: AdaLoRA's are cut to the ranks left, and hold no importances.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from retrain.train.progress import write_json

TRAINED: Final = "trained.safetensors"
RANKS: Final = "ranks.safetensors"
PATTERN: Final = "ranks.json"
IMPORTANCE: Final = ("ipt", "exp_avg_ipt", "exp_avg_unc")


class Checkpoints:
    """Before a trainer of the library in the order of bases: how it saves and loads the model of a checkpoint."""

    model: Any
    args: Any

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        trained = {n: p.detach().cpu().contiguous() for n, p in self.model.named_parameters() if p.requires_grad}
        save_file(trained, str(folder / TRAINED))
        if (allocator := allocator_of(self.model)) is not None:
            kept = {f"{part}/{n}": v.cpu() for part in IMPORTANCE for n, v in getattr(allocator, part).items()}
            save_file(kept, str(folder / RANKS))
            write_json(folder / PATTERN, _plain(allocator.peft_config.rank_pattern))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model if model is None else model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_trained(self.model, Path(self.state.best_model_checkpoint))  # type: ignore[attr-defined]


@torch.no_grad()
def load_trained(model: Any, folder: Path) -> None:
    """Put a checkpoint's tensors into the model they were taken from."""
    values = load_file(str(folder / TRAINED))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(values[name].to(parameter))
    allocator = allocator_of(model)
    if allocator is None or not (folder / RANKS).is_file():
        return
    for name, value in load_file(str(folder / RANKS)).items():
        part, parameter_name = name.split("/", 1)
        getattr(allocator, part)[parameter_name] = value.to(parameter_device(model))
    allocator.peft_config.rank_pattern = json.loads((folder / PATTERN).read_text(encoding="utf-8")) or {}


def parameter_device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def allocator_of(model: Any) -> Any:
    """AdaLoRA's allocator of ranks; None with every other method."""
    tuner = model.base_model if isinstance(model, PeftModel) else None
    return getattr(tuner, "rankallocator", None)


def _plain(pattern: Mapping[str, Any] | None) -> dict[str, Any]:
    return {n: v.tolist() if isinstance(v, torch.Tensor) else v for n, v in (pattern or {}).items()}


class RankSchedule(TrainerCallback):
    """Tells AdaLoRA of every step, between the optimiser's step and the end of its gradients; without it, the ranks
    stay what they were at the start."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        steps, plan = max(state.max_steps, 4), allocator_of(self.model).peft_config
        plan.total_step, plan.tinit, plan.tfinal = steps, steps // 10, max(1, steps // 4)
        plan.deltaT = max(1, steps // 50)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.model.base_model.update_and_allocate(state.global_step + 1)

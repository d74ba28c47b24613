"""The trainers: one for classification, one for completions, with the arguments they share."""

from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from retrain.train.config import Recipe
from retrain.train.speed.memory import Optimiser


class LengthGrouped(Sampler[int]):
    """Rows of like length side by side, in an order fixed by seed and epoch, so that a resumed run sees the same."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int, trainer: Trainer, steps_per_epoch: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.trainer, self.steps_per_epoch = trainer, steps_per_epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        epoch = self.trainer.state.global_step // self.steps_per_epoch
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]  # no annotations
            self.lengths, self.batch_size, generator=generator
        )
        return iter(order)


class ClassificationTrainer(Trainer):
    """The library's trainer with our row order."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = cast(Sequence[dict[str, Sized]], self.train_dataset if train_dataset is None else train_dataset)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        steps = max(1, -(-len(rows) // batch))
        return LengthGrouped([len(r["input_ids"]) for r in rows], batch, self.args.seed, self, steps)


def training_arguments(
    recipe: Recipe, checkpoints: Path, device: torch.device, optimiser: Optimiser = "adamw_torch_fused"
) -> dict[str, Any]:
    """Arguments shared by both trainers. Layers are checkpointed beforehand, as the plan of the run says."""
    return {
        "output_dir": str(checkpoints),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": 4 * recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup_ratio,  # below one it is a share of the steps
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": optimiser,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "use_cpu": device.type == "cpu",
        "bf16": device.type == "cuda",
        "activation_checkpointing": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the last finite loss in place of a NaN
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 0.1,  # a tenth of the run
        "save_total_limit": 2,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.type == "cuda",
        "report_to": [],
        "disable_tqdm": True,
        "log_level": "error",
    }


def build_classification_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, Any]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
    optimiser: Optimiser = "adamw_torch_fused",
) -> Trainer:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # float32 masters: bfloat16 steps of this size would vanish
    trainer = ClassificationTrainer(
        model=model,
        args=TrainingArguments(**training_arguments(recipe, checkpoints, device, optimiser), label_names=["labels"]),
        train_dataset=cast(Any, examples),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    # The classification loss ignores num_items_in_batch, yet the trainer would skip its own division by the number
    # of accumulated batches (transformers #47688).
    trainer.model_accepts_loss_kwargs = False
    return trainer


def build_completion_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, list[int]]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
    optimiser: Optimiser = "adamw_torch_fused",
    *,
    packed: bool = False,
) -> Trainer:
    """`packed` fills rows of `max_length` tokens with whole documents, told apart by their lengths."""
    from datasets import Dataset  # type: ignore[import-untyped]  # no stubs; slow to import, needed only here
    from trl.trainer.sft_config import SFTConfig

    from retrain.train.speed.completion_trainer import CompletionTrainer

    arguments = training_arguments(recipe, checkpoints, device, optimiser)
    trainer = CompletionTrainer(
        model=model,
        args=SFTConfig(
            **arguments,
            max_length=recipe.max_length if packed else None,
            packing=packed,
            packing_strategy="bfd",
            completion_only_loss=True,
        ),
        train_dataset=Dataset.from_list(examples),  # has labels already: TRL leaves them as they are
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # TRL casts adapters of a 4-bit model to bfloat16
    return cast(Trainer, trainer)

"""The trainers: one for classification, one for completions, with the arguments they share."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import torch
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from retrain.train.adapter import Trained
from retrain.train.checkpoints import Checkpoints, RankSchedule, allocator_of
from retrain.train.config import Recipe
from retrain.train.errors import DataError
from retrain.train.hidden_words import HiddenWords, hidden_words
from retrain.train.mitigation.texts import as_cells
from retrain.train.speed.memory import Optimiser

Example = TypeVar("Example")
TURNS: Final = 3  # epochs in which each rehearsed row is left out once


class LengthGrouped(Sampler[int]):
    """Rows of like length side by side, in an order fixed by seed and epoch, so that a resumed run sees the same.

    Of the rows named in `rehearsed` each epoch leaves out another third: the model knows them already, and rows that it
    does not know weigh more.
    """

    def __init__(
        self, lengths: list[int], batch_size: int, seed: int, trainer: Trainer, rehearsed: Sequence[int] = ()
    ) -> None:
        """`batch_size` counts the rows of a whole step."""
        self.lengths, self.batch_size, self.seed, self.trainer = lengths, batch_size, seed, trainer
        self.rehearsed, known = rehearsed, set(rehearsed)
        self.others = [i for i in range(len(lengths)) if i not in known]

    def __len__(self) -> int:
        return len(self.others) + len(self.rehearsed) - len(self.rehearsed) // TURNS

    def __iter__(self) -> Iterator[int]:
        epoch = self.trainer.state.global_step // max(1, -(-len(self) // self.batch_size))
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        rows = self.others + self._turn(epoch)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]  # no annotations
            [self.lengths[i] for i in rows], self.batch_size, generator=generator
        )
        return iter([rows[i] for i in order])

    def _turn(self, epoch: int) -> list[int]:
        count = len(self.rehearsed)
        drawn = torch.Generator().manual_seed(self.seed * 100_003 + epoch // TURNS)
        left_out = torch.randperm(count, generator=drawn).tolist()[epoch % TURNS :: TURNS][: count // TURNS]
        return sorted(set(self.rehearsed) - {self.rehearsed[i] for i in left_out})


class ClassificationTrainer(Checkpoints, Trainer):
    """The library's trainer with our row order; with `hidden`, a training step does not see every word."""

    hidden: HiddenWords | None = None

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self.hidden is not None:
            inputs = {**inputs, "input_ids": self.hidden(inputs["input_ids"])}
        return super().training_step(model, inputs, num_items_in_batch)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = cast(Sequence[dict[str, Any]], self.train_dataset if train_dataset is None else train_dataset)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        rehearsed = [i for i, row in enumerate(rows) if row.get("rehearsed")]
        return LengthGrouped([len(r["input_ids"]) for r in rows], batch, self.args.seed, self, rehearsed)


def validation_rows(examples: Sequence[Example], recipe: Recipe) -> tuple[list[Example], list[Example]]:
    """The rows to train on, and those that early stopping looks at: a share drawn by the seed, at least one.

    They come from the training rows; the gates judge rows that training never sees. All pairs of answers to one prompt
    are on one side.
    """
    if recipe.early_stopping is None or len(examples) < 2:
        return list(examples), []
    count = max(1, round(recipe.validation * len(examples)))
    draw = random.Random(recipe.seed)  # noqa: S311  no secret
    prompts = _prompts(examples)
    if len(prompts) < 2:
        drawn = set(draw.sample(range(len(examples)), count))
    else:
        order = draw.sample(sorted(prompts), len(prompts))[:-1]  # one is left to train on
        rows = [prompts[name] for name in order]
        needed = 1 + sum(so_far < count for so_far in accumulate(map(len, rows)))
        drawn = {i for part in rows[:needed] for i in part}
    return (
        [row for i, row in enumerate(examples) if i not in drawn],
        [row for i, row in enumerate(examples) if i in drawn],
    )


def _prompts(examples: Sequence[Any]) -> dict[tuple[int, ...], list[int]]:
    """Places of the pairs of answers by their prompt's tokens; empty where rows are no pairs."""
    found: dict[tuple[int, ...], list[int]] = {}
    for at, row in enumerate(examples):
        if isinstance(row, Mapping) and "chosen" in row:
            answer = row["chosen"]
            asked = zip(answer["input_ids"], answer["labels"], strict=True)
            found.setdefault(tuple(token for token, label in asked if label == -100), []).append(at)
    return found


def early_stopping(recipe: Recipe, watched: Sequence[Any]) -> dict[str, Any]:
    """Arguments by which a trainer looks at the validation rows ten times, and keeps the best of what it saw."""
    if recipe.early_stopping is None or not watched:
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": 0.1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,
    }


def row_weights(recipe: Recipe, labels: Sequence[str], examples: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
    """Weight of a row by label of the run, scaled so that training rows weigh 1 on average; None if all weigh alike.

    Shape: (labels,). `balanced` gives each label that has rows the same weight in total.

    Raises:
        DataError: every training row has weight 0.
    """
    if recipe.class_weights is None:
        return None
    counts = [0.0] * len(labels)
    for row in examples:
        counts[row["label"]] += 1
    if recipe.class_weights == "balanced":
        weights = [1 / count if count else 0.0 for count in counts]
    else:
        # A weight of another label is of a class that has too few rows yet; the run was decided knowing that.
        weights = [float(recipe.class_weights.get(name, 1.0)) for name in labels]
    total = sum(w * n for w, n in zip(weights, counts, strict=True))
    if not total:
        raise DataError(
            "recipe.class_weights: every training row has weight 0; give a label that has rows a weight",
            field="recipe.class_weights",
        )
    return torch.tensor([w * sum(counts) / total for w in weights])


def weighted_loss(weights: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Cross entropy with a weight by label, averaged over the rows of a whole step."""

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        by_row = torch.nn.functional.cross_entropy(outputs.logits.float(), labels, reduction="none")
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch
        return (by_row * weights.to(by_row)[labels]).sum() / rows

    return loss


def cell_loss(weights: torch.Tensor | None, cells: Sequence[tuple[int, float]]) -> Callable[..., torch.Tensor]:
    """Cross entropy with a weight by row: each label of a batch stands for a label and a weight."""
    label, weight = torch.tensor([c[0] for c in cells]), torch.tensor([c[1] for c in cells])
    if weights is not None:
        weight = weight * weights[label]

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs.logits.float()
        by_row = torch.nn.functional.cross_entropy(logits, label.to(labels)[labels], reduction="none")
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch
        return (by_row * weight.to(by_row)[labels]).sum() / rows

    return loss


def in_float32(model: Trained) -> None:
    """Train float32 masters: bfloat16 steps of this size would vanish."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def stops(
    model: Any, recipe: Recipe, watched: Sequence[Any], callbacks: Sequence[TrainerCallback]
) -> list[TrainerCallback]:
    own: list[TrainerCallback] = [RankSchedule(model)] if allocator_of(model) is not None else []
    if recipe.early_stopping is not None and watched:
        own.append(EarlyStoppingCallback(early_stopping_patience=recipe.early_stopping))
    return [*own, *callbacks]


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
        "ddp_find_unused_parameters": False,
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
    model: Trained,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, Any]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
    optimiser: Optimiser = "adamw_torch_fused",
    *,
    watched: Sequence[dict[str, Any]] = (),
    labels: Sequence[str] = (),
) -> Trainer:
    """`watched` are the rows of early stopping; `labels` name the classes that have weights."""
    weights = row_weights(recipe, labels, examples)
    loss = None if weights is None else weighted_loss(weights)
    if examples and "weight" in examples[0]:
        examples, watched, cells = as_cells(examples, watched)
        loss = cell_loss(weights, cells)
    in_float32(model)
    trainer = ClassificationTrainer(
        model=model,
        args=TrainingArguments(
            **(training_arguments(recipe, checkpoints, device, optimiser) | early_stopping(recipe, watched)),
            label_names=["labels"],
        ),
        train_dataset=cast(Any, examples),
        eval_dataset=cast(Any, list(watched)) if watched else None,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=stops(model, recipe, watched, callbacks),
        compute_loss_func=loss,
    )
    trainer.hidden = hidden_words(recipe.hide_words, tokenizer)
    trainer.remove_callback(PrinterCallback)
    # The classification loss ignores num_items_in_batch, yet the trainer would skip its own division by the number
    # of accumulated batches (transformers #47688).
    trainer.model_accepts_loss_kwargs = False
    return trainer


def build_completion_trainer(
    model: Trained,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, list[int]]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
    optimiser: Optimiser = "adamw_torch_fused",
    *,
    packed: bool = False,
    watched: Sequence[dict[str, list[int]]] = (),
) -> Trainer:
    """`packed` fills rows of `max_length` tokens with whole documents, told apart by their lengths."""
    from datasets import Dataset  # type: ignore[import-untyped]  # no stubs; slow to import, needed only here
    from trl.trainer.sft_config import SFTConfig

    from retrain.train.speed.completion_trainer import CompletionTrainer

    arguments = training_arguments(recipe, checkpoints, device, optimiser) | early_stopping(recipe, watched)
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
        eval_dataset=Dataset.from_list(list(watched)) if watched else None,
        processing_class=tokenizer,
        callbacks=stops(model, recipe, watched, callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    in_float32(model)  # TRL casts adapters of a 4-bit model to bfloat16
    return cast(Trainer, trainer)

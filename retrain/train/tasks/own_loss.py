"""What trainers with a loss of their own share: how they are made, their batches, and their look at validation rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from retrain.train.adapter import Trained
from retrain.train.model import padded
from retrain.train.tasks.base import Attempt, Examples, Setting
from retrain.train.trainers import early_stopping, in_float32, stops, training_arguments

Batch = dict[str, Any]


class OwnLoss(Trainer):
    """The library's trainer, which looks at validation rows by its own loss alone."""

    def prediction_step(
        self, model: Any, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, None, None]:
        """Only the loss, for early stopping."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss: Any = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None


def trainer_options(
    setting: Setting, model: Trained, made: Examples, attempt: Attempt, collate: Callable[[Sequence[Batch]], Batch]
) -> dict[str, Any]:
    """Arguments of a trainer that reads the rows as they are, with what is not the model's; trains float32 masters."""
    in_float32(model)
    arguments = training_arguments(attempt.recipe, attempt.checkpoints, setting.device, attempt.optimiser)
    arguments |= early_stopping(attempt.recipe, made.watched)
    return {
        "model": model,
        "args": TrainingArguments(**arguments, remove_unused_columns=False, label_names=["labels"]),
        "train_dataset": made.rows,
        "eval_dataset": list(made.watched) if made.watched else None,
        "data_collator": collate,
        "processing_class": setting.tokenizer,
        "callbacks": stops(model, attempt.recipe, made.watched, attempt.callbacks),
    }


def batched(rows: Sequence[Mapping[str, Any]], pad: int) -> Batch:
    """Rows of `{input_ids, labels}` as one batch, padded on the right."""
    batch = padded([row["input_ids"] for row in rows], pad, torch.device("cpu"))
    width = batch["input_ids"].shape[1]
    labels = [[*row["labels"], *[-100] * (width - len(row["labels"]))] for row in rows]
    return {**batch, "labels": torch.tensor(labels)}

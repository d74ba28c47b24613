"""Trainers that learn from outcomes and from a teacher: the loss of each row is a mixture of both.

The teacher's part is the Kullback-Leibler divergence of the student from it, both at a temperature T, times T squared,
so that its gradients stay as large as those of the outcomes whatever T is (Hinton et al. 2015, section 2).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import DataCollatorWithPadding, PrinterCallback

from retrain.train.adapter import Trained
from retrain.train.config import Recipe
from retrain.train.tasks.base import Attempt, Examples, Setting
from retrain.train.tasks.own_loss import Batch, OwnLoss, batched, trainer_options
from retrain.train.teacher import ClassLessons, TokenLessons
from retrain.train.trainers import ClassificationTrainer, row_weights


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) of each row in nats, shape (rows,), from logits of both, shape (rows, choices)."""
    taught = log_softmax(teacher, dim=-1)
    return (taught.exp() * (taught - log_softmax(student, dim=-1))).sum(dim=-1)


def divergence_of_likeliest(logits: torch.Tensor, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The same for next tokens, of which the teacher's likeliest are known and all others count as one.

    Shape (places,). At most the divergence over all tokens, and equal to it where all are known.

    Args:
        logits: of the student, shape (places, vocabulary).
        tokens, shares: the likeliest and their probabilities, shape (places, kept).
    """
    mine = log_softmax(logits, dim=-1).gather(1, tokens)
    others, mine_others = 1 - shares.sum(dim=1), 1 - mine.exp().sum(dim=1)
    least = torch.finfo(torch.float32).eps
    named = torch.xlogy(shares, shares) - shares * mine
    rest = others.clamp(min=0)
    return named.sum(dim=1) + torch.xlogy(rest, rest) - rest * mine_others.clamp(min=least).log()


class TaughtClassifier(ClassificationTrainer):
    """A row of a label that the teacher does not have, or of a batch without lessons, learns from its label alone."""

    def __init__(self, recipe: Recipe, lessons: ClassLessons, weights: torch.Tensor | None, **given: Any) -> None:
        super().__init__(**given)
        self.recipe, self.lessons, self.weights = recipe, lessons, weights
        self.model_accepts_loss_kwargs = False  # a mean over rows: accumulated batches are averaged

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = {name: value for name, value in inputs.items() if name not in ("labels", "lessons")}
        labels, outputs = inputs["labels"], model(**given)
        logits, heat = outputs.logits.float(), self.recipe.temperature
        hard = cross_entropy(logits, labels, reduction="none")
        shared = torch.tensor(self.lessons.student, device=labels.device)
        soft = heat**2 * divergence(logits[:, shared] / heat, inputs["lessons"] / heat)
        mixed = (1 - self.recipe.teacher_weight) * hard + self.recipe.teacher_weight * soft
        by_row = torch.where(torch.isin(labels, shared), mixed, hard)
        if self.weights is not None:
            by_row = by_row * self.weights.to(by_row)[labels]
        loss = by_row.mean()
        return (loss, outputs) if return_outputs else loss


class TaughtWriter(OwnLoss, ClassificationTrainer):
    """Completions: every learned token is a row, rows of like length side by side."""

    def __init__(self, recipe: Recipe, **given: Any) -> None:
        super().__init__(**given)
        self.recipe = recipe
        self.model_accepts_loss_kwargs = True  # the tokens of a whole step are what is averaged over

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = {name: inputs[name] for name in ("input_ids", "attention_mask", "labels")}
        outputs = model(**given, use_cache=False)
        labels, heat = inputs["labels"][:, 1:], self.recipe.temperature
        learned = labels != -100
        logits = outputs.logits[:, -inputs["labels"].shape[1] : -1][learned].float()  # without virtual tokens
        hard = cross_entropy(logits, labels[learned], reduction="sum")
        soft = heat**2 * divergence_of_likeliest(logits / heat, inputs["tokens"], inputs["shares"]).sum()
        weight = self.recipe.teacher_weight
        count = learned.sum() if num_items_in_batch is None else num_items_in_batch
        loss = ((1 - weight) * hard + weight * soft) / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


def build_taught_classifier(
    setting: Setting, model: Trained, made: Examples, attempt: Attempt, lessons: ClassLessons
) -> TaughtClassifier:
    pad = DataCollatorWithPadding(setting.tokenizer)

    def collate(rows: Sequence[Batch]) -> Batch:
        plain = pad([{name: row[name] for name in ("input_ids", "label")} for row in rows])
        return {**plain, "lessons": lessons.of([row["row"] for row in rows])}

    weights = row_weights(attempt.recipe, setting.config.labels, made.rows)
    given = trainer_options(setting, model, made, attempt, collate)
    trainer = TaughtClassifier(attempt.recipe, lessons, weights, **given)
    trainer.remove_callback(PrinterCallback)
    return trainer


def build_taught_writer(
    setting: Setting, model: Trained, made: Examples, attempt: Attempt, lessons: TokenLessons
) -> TaughtWriter:
    pad = cast(int, setting.tokenizer.pad_token_id)

    def collate(rows: Sequence[Batch]) -> Batch:
        tokens, shares = lessons.of([row["row"] for row in rows])
        return {**batched(rows, pad), "tokens": tokens, "shares": shares}

    trainer = TaughtWriter(attempt.recipe, **trainer_options(setting, model, made, attempt, collate))
    trainer.remove_callback(PrinterCallback)
    return trainer

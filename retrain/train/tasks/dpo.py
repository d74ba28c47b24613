"""Direct preference optimisation: of two answers the preferred one becomes likelier than the champion made it.

The reference is the champion: its log-probabilities of every answer are computed once, before the first step, with the
very weights that training starts from. So no second model and no second adapter is held, saved or shipped, and a run
that is resumed reads the same numbers.

Source: Rafailov et al. (2023), Direct Preference Optimization, arXiv:2305.18290; the plain loss on preferred answers
beside it as in Pang et al. (2024), Iterative Reasoning Preference Optimization, arXiv:2404.19733.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import numpy as np
import polars as pl
import torch
from transformers import PrinterCallback, Trainer

from retrain.train.adapter import Trained
from retrain.train.chat import text_format
from retrain.train.config import Recipe
from retrain.train.counts import RowCounts
from retrain.train.data import answered_counts, pair_examples
from retrain.train.model import Generator
from retrain.train.tasks.base import Attempt, Examples, Setting, Training
from retrain.train.tasks.causal_lm import perplexity_of
from retrain.train.tasks.own_loss import OwnLoss, batched, trainer_options

SIDES: Final = ("chosen", "rejected")


class Pairs:
    """Pads a batch of pairs into one of answers: first all preferred ones, then the rejected in the same order."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        answers = batched([row[side] for side in SIDES for row in rows], self.pad)
        reference = torch.tensor([row["reference"] for row in rows], dtype=torch.float32)  # (pairs, 2)
        return {**answers, "reference": reference}


def sums(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed log-probability of each answer's tokens, shape (answers,), and how many those are."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    found = model(**given, use_cache=False, fused_lm_head=True)
    return found.log_probs.float().sum(dim=1), found.label_mask.sum(dim=1)


class PreferenceTrainer(OwnLoss):
    """The library's trainer with the loss of pairs."""

    def __init__(self, recipe: Recipe, **given: Any) -> None:
        super().__init__(**given)
        self.recipe = recipe
        self.model_accepts_loss_kwargs = False  # the loss is a mean over pairs: accumulated batches are averaged

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found, tokens = sums(model, inputs)
        chosen, rejected = found.chunk(2)
        before = inputs["reference"]
        margin = (chosen - before[:, 0]) - (rejected - before[:, 1])
        loss = -torch.nn.functional.logsigmoid(self.recipe.beta * margin).mean()
        plain = -chosen.sum() / tokens[: len(chosen)].sum()
        return loss + self.recipe.chosen_weight * plain


def counts(setting: Setting, rows: pl.DataFrame) -> RowCounts:
    """Of each pair, what the longest text leaves of both answers."""
    recipe = setting.config.recipe
    return answered_counts(rows, setting.tokenizer, recipe.max_length, recipe.chat)


def examples(setting: Setting, rows: pl.DataFrame) -> Examples:
    recipe = setting.config.recipe
    made, counted = pair_examples(rows, setting.tokenizer, recipe.max_length, recipe.chat)
    return Examples(made, counted, {"format": text_format(setting.tokenizer, recipe.chat).record()})


def after(setting: Setting, model: Trained, made: Examples) -> dict[str, Any]:
    """Keep with each pair what the champion gives its two answers, in nats."""
    from trl.trainer.utils import add_fused_lm_head  # slow to import, needed only here

    add_fused_lm_head(cast(Any, model).get_base_model())
    model.eval()
    for rows, batch in _batches(setting, [*made.rows, *cast(list[dict[str, Any]], made.watched)]):
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=setting.device.type == "cuda"):
            found, _ = sums(model, batch)
        for row, pair in zip(rows, found.reshape(2, -1).T.tolist(), strict=True):
            row["reference"] = pair
    margins = [row["reference"][0] - row["reference"][1] for row in made.rows]
    return {"reference": {"of": "champion", "pairs": len(margins), "mean_margin_nats": float(np.mean(margins))}}


def _batches(
    setting: Setting, rows: list[dict[str, Any]]
) -> Iterator[tuple[list[dict[str, Any]], dict[str, torch.Tensor]]]:
    collate, size = Pairs(cast(int, setting.tokenizer.pad_token_id)), setting.config.recipe.batch_size
    for first in range(0, len(rows), size):
        few = [{**row, "reference": (0.0, 0.0)} for row in rows[first : first + size]]
        yield rows[first : first + size], {k: v.to(setting.device) for k, v in collate(few).items()}


def build(setting: Setting, model: Trained, made: Examples, attempt: Attempt) -> Trainer:
    collate = Pairs(cast(int, setting.tokenizer.pad_token_id))
    trainer = PreferenceTrainer(attempt.recipe, **trainer_options(setting, model, made, attempt, collate))
    trainer.remove_callback(PrinterCallback)
    return trainer


def score(setting: Setting, model: Trained, rows: pl.DataFrame) -> list[dict[str, Any]]:
    recipe = setting.config.recipe
    trained = Generator(model, setting.tokenizer, setting.device, recipe.max_length, recipe.chat)
    prompts = rows["prompt"].to_list()
    chosen, rejected = (trained.token_logprobs(prompts, rows[side].to_list()) for side in SIDES)
    scored = [(a, b) for a, b in zip(chosen, rejected, strict=True) if len(a) and len(b)]
    right = np.array([float(a.mean()) > float(b.mean()) for a, b in scored])
    value = float(right.mean()) if len(right) else None
    return [
        {"name": "preference_accuracy", "value": value, "unit": "share", "n": len(right), "rows": "eval"},
        perplexity_of(chosen),
    ]


TRAINING: Final = Training(examples, counts, build, score, after=after)

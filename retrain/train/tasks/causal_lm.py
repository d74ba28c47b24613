"""A completion for each prompt: the loss is on the completion alone, its end token included.

Where the base has a chat template, prompt and completion are turns of a conversation in its format.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from transformers import Trainer

from retrain.train.adapter import Trained
from retrain.train.chat import text_format
from retrain.train.counts import RowCounts
from retrain.train.data import answered_counts, completion_examples
from retrain.train.model import Generator
from retrain.train.tasks.base import Attempt, Examples, Setting, Training
from retrain.train.tasks.taught import build_taught_writer
from retrain.train.teacher import Asked, TokenLessons, token_lessons
from retrain.train.trainers import build_completion_trainer


def counts(setting: Setting, rows: pl.DataFrame) -> RowCounts:
    recipe = setting.config.recipe
    return answered_counts(rows, setting.tokenizer, recipe.max_length, recipe.chat)


def examples(setting: Setting, rows: pl.DataFrame) -> Examples:
    recipe = setting.config.recipe
    made, counted = completion_examples(rows, setting.tokenizer, recipe.max_length, recipe.chat)
    facts = {"format": text_format(setting.tokenizer, recipe.chat).record()}
    return Examples([dict(row) for row in made], counted, facts)


def teach(setting: Setting, _rows: pl.DataFrame, made: Examples, folder: Path, asked: Asked) -> TokenLessons:
    for at, row in enumerate(made.rows):
        row["row"] = at
    return token_lessons(setting.config, made.rows, folder, asked)


def build(setting: Setting, model: Trained, made: Examples, attempt: Attempt) -> Trainer:
    if isinstance(made.lessons, TokenLessons):
        return build_taught_writer(setting, model, made, attempt, made.lessons)
    given = (attempt.recipe, made.rows, attempt.checkpoints, setting.device, attempt.callbacks, attempt.optimiser)
    return build_completion_trainer(model, setting.tokenizer, *given, packed=attempt.packed, watched=made.watched)


def score(setting: Setting, model: Trained, rows: pl.DataFrame) -> list[dict[str, Any]]:
    recipe = setting.config.recipe
    trained = Generator(model, setting.tokenizer, setting.device, recipe.max_length, recipe.chat)
    return [perplexity_of(trained.token_logprobs(rows["prompt"].to_list(), rows["completion"].to_list()))]


def perplexity_of(logprobs: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """The metric of the record, from each row's token log-probabilities."""
    tokens = np.concatenate(list(logprobs))
    value = math.exp(-float(tokens.mean())) if len(tokens) else None
    return {"name": "perplexity", "value": value, "unit": "1", "n": len(tokens), "rows": "eval"}


TRAINING: Final = Training(examples, counts, build, score, teach=teach, packs=True)

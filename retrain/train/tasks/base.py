"""What the trainer's process asks of a task, in the order in which it asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback

from retrain.train.adapter import Trained
from retrain.train.config import Recipe, RunConfig
from retrain.train.counts import RowCounts
from retrain.train.speed.memory import Optimiser
from retrain.train.teacher import Asked, Lessons


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What every step of a task may read: the run, its tokenizer and where it trains."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    device: torch.device


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Tokens of the training rows, how many rows and tokens of them are learned, and facts for the record.

    `watched` are rows that early stopping looks at and that are not trained on, `lessons` what the teacher answers.
    """

    rows: list[dict[str, Any]]
    counts: RowCounts
    facts: Mapping[str, Any] = field(default_factory=dict)
    watched: Sequence[dict[str, Any]] = ()
    lessons: Lessons | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt at training is given; its recipe is the run's, or that with fewer rows in a micro-batch."""

    recipe: Recipe
    checkpoints: Path
    callbacks: Sequence[TrainerCallback]
    optimiser: Optimiser
    packed: bool


def _nothing(_setting: Setting, _model: Any, _examples: Examples) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Training:
    """One task.

    `examples` raises DataError where nothing is left to learn from. `counts` tells what the longest text leaves of
    held-out rows. `before` changes the base model before the adapter is attached, `after` looks at base and adapter
    before the first step; both return facts for the record. `teach` asks the teacher what it answers to the training
    rows, while no other model is loaded, and keeps that in a folder. `score` measures the trained model on held-out
    rows.
    """

    examples: Callable[[Setting, pl.DataFrame], Examples]
    counts: Callable[[Setting, pl.DataFrame], RowCounts]
    build: Callable[[Setting, Trained, Examples, Attempt], Trainer]
    score: Callable[[Setting, Trained, pl.DataFrame], list[dict[str, Any]]]
    check: Callable[[Setting, pl.DataFrame, str], None] = lambda _setting, _rows, _field: None
    before: Callable[[Setting, PreTrainedModel, Examples], dict[str, Any]] = _nothing
    after: Callable[[Setting, Trained, Examples], dict[str, Any]] = _nothing
    teach: Callable[[Setting, pl.DataFrame, Examples, Path, Asked], Lessons] | None = None
    packs: bool = False  # rows may follow one another in one row on a card

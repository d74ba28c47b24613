"""How each task is trained: one module per task, and the table that lists them."""

from collections.abc import Mapping
from typing import Final

from retrain.train.config import Recipe
from retrain.train.kinds import Task
from retrain.train.tasks import causal_lm, dpo, sequence_classification
from retrain.train.tasks.base import Training

TASKS: Final[Mapping[Task, Training]] = {
    "sequence_classification": sequence_classification.TRAINING,
    "causal_lm": causal_lm.TRAINING,
    "dpo": dpo.TRAINING,
}


def training_of(recipe: Recipe) -> Training:
    return TASKS[recipe.task]

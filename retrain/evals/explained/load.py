"""Load the model that a process is asked about: one file for each kind, by the task it was trained for."""

from collections.abc import Callable, Mapping
from typing import Final

from core.errors import InvalidError
from retrain.evals.explained.base import Explained, ExplainedModel


def _words(model: ExplainedModel) -> Explained:
    from retrain.evals.explained.words import ExplainedClassifier

    return ExplainedClassifier.load(model)


def _answers(model: ExplainedModel) -> Explained:
    from retrain.evals.explained.written import ExplainedGenerator

    return ExplainedGenerator.load(model)


LOADERS: Final[Mapping[str, Callable[[ExplainedModel], Explained]]] = {
    "sequence_classification": _words, "causal_lm": _answers, "dpo": _answers,
}  # fmt: skip


def loaded(model: ExplainedModel) -> Explained:
    """
    Raises:
        InvalidError: decisions of such a model cannot be explained.
    """
    if model.task not in LOADERS:
        raise InvalidError(f"recipe task {model.task} has no explanations", field="retrain.recipe.task")
    return LOADERS[model.task](model)

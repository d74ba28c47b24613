"""Names in a recipe and its envelope that mean nothing, told when a spec is applied, not when a run needs them. Pure.

A label may be a new class, a dataset may be registered later: what cannot be known yet is looked at when a run is
decided (`retrain.runs.learnable`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from monitor.spec.problems import nearest
from retrain.envelope import Plan
from retrain.errors import RecipeError
from retrain.train.config import VIRTUAL, Method, Recipe, is_a_path
from retrain.train.tabular.recipe import TableRecipe

METHODS: Final[tuple[str, ...]] = get_args(Method)
EVENTS: Final = "events"


def check_names(plan: Plan) -> None:
    """
    Raises:
        RecipeError: names the field, its value, and what to choose from.
    """
    recipe, envelope = plan.recipe, plan.envelope
    if isinstance(recipe, Recipe) and recipe.revision is not None and is_a_path(recipe.base_model):
        raise _wrong(
            "recipe.revision", recipe.revision, "is set, and base_model is a folder, which has none: its files have a "
            "digest; leave it out, or write the digest into retrain.envelope.revisions",
        )  # fmt: skip
    if isinstance(recipe, TableRecipe) and envelope.methods:
        raise _wrong("envelope.methods", list(envelope.methods), "is set, and a tabular recipe has no method; leave it "
                     "out")  # fmt: skip
    for method in envelope.methods:
        _known("envelope.methods", method, METHODS)
    bases = tuple(dict.fromkeys((*envelope.base_models, recipe.base_model)))
    for base in envelope.revisions:
        _known("envelope.revisions", base, bases)
    if envelope.sources and EVENTS not in envelope.sources:
        words = f"leaves out {EVENTS}, and the new rows of every run come from there; add {EVENTS}"
        raise _wrong("envelope.sources", list(envelope.sources), words)


def check_idle(given: Mapping[str, Any], recipe: Recipe | TableRecipe) -> None:
    """Refuse a key that does nothing, for the one that it belongs to is left out; with its default it does no harm.

    Args:
        given: `retrain.recipe` as it is written.
        recipe: the same, read.

    Raises:
        RecipeError: names the field, its value, and the key that is missing.
    """
    for names, needs, is_there in _BELONGS:
        for name in names:
            if name in given and not is_there(recipe) and getattr(recipe, name) != _default(recipe, name):
                raise _wrong(f"recipe.{name}", given[name], f"is set, and does nothing without {needs}; add that, or "
                             f"leave {name} out")  # fmt: skip


def _default(recipe: Recipe | TableRecipe, name: str) -> Any:
    return type(recipe).model_fields[name].default


_BELONGS: Final[tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...]] = (
    (("teacher_weight", "temperature"), "teacher: champion", lambda recipe: recipe.teacher is not None),
    (("beta", "chosen_weight"), "task: dpo", lambda recipe: recipe.task == "dpo"),
    (("virtual_tokens",), "method: prompt_tuning or prefix_tuning", lambda recipe: recipe.method in VIRTUAL),
    (("validation",), "early_stopping, or start: best",
     lambda recipe: recipe.early_stopping is not None or getattr(recipe, "start", None) == "best"),
)  # fmt: skip


def _known(field: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise _wrong(field, value, f"names {value!r}, which is none{nearest(value, known)}; choose from "
                     f"{', '.join(known)}")  # fmt: skip


def _wrong(field: str, value: Any, reason: str) -> RecipeError:
    return RecipeError(f"retrain.{field}: {reason}", field=f"retrain.{field}", value=value)

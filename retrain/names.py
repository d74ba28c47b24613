"""Names in a recipe and its envelope that mean nothing, told when a spec is applied, not when a run needs them. Pure.

A label may be a new class, a dataset may be registered later: what cannot be known yet is looked at when a run is
decided (`retrain.runs.learnable`).
"""

from collections.abc import Sequence
from typing import Any, Final, get_args

from monitor.spec.problems import nearest
from retrain.envelope import Plan
from retrain.errors import RecipeError
from retrain.train.config import Method, Recipe, is_a_path
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


def _known(field: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise _wrong(field, value, f"names {value!r}, which is none{nearest(value, known)}; choose from "
                     f"{', '.join(known)}")  # fmt: skip


def _wrong(field: str, value: Any, reason: str) -> RecipeError:
    return RecipeError(f"retrain.{field}: {reason}", field=f"retrain.{field}", value=value)

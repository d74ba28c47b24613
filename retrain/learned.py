"""What a recipe learns: the target of the spec, if its type fits the recipe's task."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from monitor.levels import level
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec
from retrain.errors import RecipeError
from retrain.train.config import Preference
from retrain.train.tabular.recipe import TableColumn

LEARNS: Final[Mapping[str, tuple[ColumnType, ...]]] = {
    "sequence_classification": ("category", "boolean", "string"),
    "causal_lm": ("text", "texts", "string", "category"),
    "tabular_classification": ("category", "boolean"),
    "tabular_regression": ("number",),
    "dpo": ("category", "boolean", "string"),  # of the outcome that says which answer is preferred
}


def counted_outcome(spec: ModelSpec) -> str | None:
    """The outcome whose arrival makes an event one to learn from; None where there is none."""
    given: Any = spec.retrain.recipe.get("preference") if spec.retrain is not None else None
    return given["outcome"] if isinstance(given, Mapping) and "outcome" in given else spec.target


def preferred_column(spec: ModelSpec, preference: Preference) -> str:
    """The outcome that says which of two answers is preferred.

    Raises:
        RecipeError: a column of `preference` is not declared, or not as it must be; names key and fix.
    """
    prediction = spec.with_role("prediction")[0]
    for key, role, kinds in (
        ("other", "input", ("text", "string")), ("outcome", "outcome", LEARNS["dpo"]),
    ):  # fmt: skip
        name = getattr(preference, key)
        column = spec.columns.get(name)
        if column is None or column.role != role or column.type not in kinds:
            found = "is not declared" if column is None else f"has role {column.role} and type {column.type}"
            raise RecipeError(
                f"retrain.recipe.preference.{key}: column {name!r} {found}; name a column of role {role} and type "
                f"{' or '.join(kinds)}",
                field=f"retrain.recipe.preference.{key}", value=name,
            )  # fmt: skip
    if spec.columns[prediction].type not in ("text", "string"):
        raise RecipeError(
            f"retrain.recipe.task: dpo compares two texts, and the prediction {prediction} has type "
            f"{spec.columns[prediction].type}; use sequence_classification",
            field="retrain.recipe.task", value="dpo",
        )  # fmt: skip
    return preference.outcome


def learned_column(spec: ModelSpec, task: str, preference: Preference | None = None) -> str:
    """The outcome that a recipe of this task learns.

    Raises:
        RecipeError: the spec has no target, or one that such a recipe cannot learn; names key and fix.
    """
    if preference is not None:
        return preferred_column(spec, preference)
    prediction, target = spec.with_role("prediction")[0], spec.target
    kinds = LEARNS.get(task, ())
    if target is None:
        raise RecipeError(
            f"columns.{prediction}.predicts: no outcome fits the prediction, so there is nothing to learn; declare an "
            f"outcome of type {' or '.join(kinds)}, or name one with predicts",
            field=f"columns.{prediction}.predicts",
        )
    column = spec.columns[target]
    if kinds and column.type not in kinds:
        raise RecipeError(
            f"columns.{target}.type: is {column.type}, and a {task} recipe learns {' or '.join(kinds)}; declare "
            f"{target} as category if its values are classes (1, 1.0 and `1` are one), or name another outcome with "
            f"`predicts` on {prediction}",
            field=f"columns.{target}.type", value=column.type,
        )  # fmt: skip
    if column.references == "collected":
        raise RecipeError(
            f"columns.{target}.references: is collected, so a text of the list need not be right, and a recipe learns "
            "right answers; name another outcome with predicts, or declare references: accepted if each text is right",
            field=f"columns.{target}.references", value="collected",
        )  # fmt: skip
    return target


def learned_inputs(spec: ModelSpec, preference: Preference | None = None) -> tuple[str, ...]:
    """The inputs that a recipe reads as text; a second answer is none of them.

    Raises:
        RecipeError: there are none.
    """
    inputs = tuple(name for name in spec.with_role("input") if spec.columns[name].type != "vector")
    if preference is not None:
        inputs = tuple(name for name in inputs if name != preference.other)
    if not inputs:
        raise RecipeError("columns: no column has role input; a retrain needs the model's input", field="columns")
    return inputs


def table_columns(spec: ModelSpec) -> tuple[TableColumn, ...]:
    """The inputs that a tabular recipe reads, in the spec's order.

    Raises:
        RecipeError: there are none, or one is neither a number, a category nor a boolean.
    """
    names = spec.with_role("input")
    if not names:
        raise RecipeError("columns: no column has role input; a retrain needs the model's inputs", field="columns")
    found = []
    for name in names:
        kind = spec.columns[name].type
        if kind not in ("number", "category", "boolean"):
            raise RecipeError(
                f"columns.{name}.type: is {kind}, and a tabular recipe reads numbers, categories and booleans; give "
                f"{name} another role, declare it as category if its values are few, or use a recipe for texts",
                field=f"columns.{name}.type", value=kind,
            )  # fmt: skip
        found.append(TableColumn(name=name, type=kind))
    return tuple(found)


def check_weighted(spec: ModelSpec, target: str, names: Collection[str], base_labels: Collection[str]) -> None:
    """Refuse weights of names that no row's label can ever be.

    A label is a level: `1.0` is `1`. A boolean has two of them; a category may get new ones, so any level passes.

    Args:
        target: the outcome that is learned.
        names: labels that have a weight.
        base_labels: labels that the base answers; none where it has no usable head.

    Raises:
        RecipeError: a name is no level, or not one of a boolean outcome or of the base.
    """
    kind = spec.columns[target].type
    for name in sorted(names):
        written, field = level(name), "retrain.recipe.class_weights"
        if name in base_labels or (written == name and (kind != "boolean" or name in ("true", "false"))):
            continue
        if kind == "boolean":
            known = ", ".join(dict.fromkeys(("true", "false", *base_labels)))
            why = f"no outcome of {target} ({kind}) can be {name!r}; its labels are {known}"
        elif written is None:
            why = f"{name!r} is no value, so no outcome of {target} can be it; leave it out"
        else:
            why = f"outcomes of {target} spell {name!r} as {written!r}; write {written!r}"
        raise RecipeError(f"{field}: {why}", field=field, value=name)

"""The target: the outcome that a prediction is compared with, and that a retrain learns. The one place that says which.

It is the outcome that `predicts` of the prediction column names; else the only outcome of the best fitting type. Where
several fit equally well, a new spec is refused, because to guess would train a model on the wrong question. A spec that
an earlier release stored goes on with the first of them, and says that it is assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from monitor.spec.base import KeyProblem
from monitor.spec.columns import ColumnType
from monitor.spec.problems import nearest

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec

# By type of the prediction: the types of outcomes that fit it, the best first. Types of one rank fit equally well.
RANKS: Final[Mapping[ColumnType, tuple[tuple[ColumnType, ...], ...]]] = {
    "category": (("category",), ("boolean",), ("number", "string")),
    "boolean": (("boolean",), ("category",), ("number", "string")),
    "number": (("number",), ("boolean",)),
    "text": (("text", "texts"), ("string",)),
}
# Types that are compared with it only where `predicts` says so: a category beside a text is mostly a rating of it.
_IF_DECLARED: Final[Mapping[ColumnType, tuple[ColumnType, ...]]] = {
    "category": ("text",), "boolean": ("text",), "text": ("category",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """The outcome that counts, why it does, and the outcomes that fit as well."""

    column: str
    how: Literal["declared", "matched", "assumed"]
    others: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Why it is this one, in words."""
        if self.how == "declared":
            return f"predictions are compared with {self.column}, as the spec declares"
        if self.how == "matched":
            return f"predictions are compared with {self.column}, the outcome that fits their type"
        beside = f", beside {', '.join(self.others)}" if self.others else ""
        return (
            f"assumed: predictions are compared with {self.column}, the first outcome that may fit{beside}; "
            f"write `predicts: {self.column}`, or another, on the prediction column"
        )


def fitting(prediction: ColumnType, outcomes: Mapping[str, ColumnType]) -> tuple[str, ...]:
    """The outcomes that fit a prediction best and equally well, in declared order; empty where none fits.

    Args:
        prediction: type of the prediction.
        outcomes: type of each outcome, by name.
    """
    for rank in RANKS.get(prediction, ()):
        if found := tuple(name for name, kind in outcomes.items() if kind in rank):
            return found
    return ()


def target_of(spec: "ModelSpec") -> Target | None:
    """The target of a spec; None where no outcome fits the prediction, or several do and nothing compares them."""
    prediction = spec.with_role("prediction")[0]
    declared = spec.columns[prediction].predicts
    outcomes = {name: column.type for name, column in spec.outcome_columns.items()}
    if declared is not None:
        return Target(declared, "declared")
    kind = spec.columns[prediction].type
    found = fitting(kind, outcomes)
    if len(found) == 1:
        return Target(found[0], "matched")
    if found and (spec.task != "generation" or reads_target(spec)):
        return Target(found[0], "assumed", found[1:])
    rest = tuple(name for name, of in outcomes.items() if of in _IF_DECLARED.get(kind, ()))
    return Target(rest[0], "assumed", rest[1:]) if not found and rest and reads_target(spec) else None


def reads_target(spec: "ModelSpec") -> bool:
    """Whether a KPI, a fairness rule or a retrain compares predictions with outcomes."""
    from monitor.fairness import FAIRNESS  # the catalogues load numpy, and few specs need them here
    from monitor.kpi import KPIS

    kpis = (KPIS.get(rule.metric) for rule in spec.monitors.kpi if rule.expression is None)
    rules = (FAIRNESS.get(rule.metric) for rule in spec.monitors.fairness)
    return (
        (spec.retrain is not None and spec.retrain.recipe.get("task") != "dpo")  # that reads a preference
        or any(kpi is not None and "outcome" in kpi.reads for kpi in kpis)
        or any(rule is not None and rule.needs_outcome for rule in rules)
    )


def check_predicts(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: `predicts` stands on another column than the prediction, or names no outcome that it may name.
    """
    for name, column in spec.columns.items():
        if column.predicts is None:
            continue
        key = ("columns", name, "predicts")
        if column.role != "prediction":
            raise KeyProblem(key, f"belongs to the column with role prediction, not to one with role {column.role}")
        found = spec.columns.get(column.predicts)
        if found is None:
            close = nearest(column.predicts, tuple(spec.outcome_columns))
            raise KeyProblem(key, f"names column {column.predicts!r}, which is not declared under columns{close}")
        if found.role != "outcome":
            named = ", ".join(spec.outcome_columns) or "none is declared"
            raise KeyProblem(key, f"names {column.predicts!r}, which has role {found.role}; outcomes: {named}")
        allowed = (*(kind for rank in RANKS.get(column.type, ()) for kind in rank), *_IF_DECLARED.get(column.type, ()))
        if found.type not in allowed:
            raise KeyProblem(
                key,
                f"names {column.predicts!r} of type {found.type}, with which a prediction of type {column.type} cannot "
                f"be compared; name an outcome of type {' or '.join(allowed)}",
            )


def check_target(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: several outcomes fit the prediction equally well, or one is needed and none fits.
    """
    prediction, target = spec.with_role("prediction")[0], target_of(spec)
    key, kind = ("columns", prediction, "predicts"), spec.columns[prediction].type
    if target is not None and target.how == "assumed" and target.others:
        names = [target.column, *target.others]
        raise KeyProblem(
            key,
            f"is missing: predictions of {prediction} may be compared with {', '.join(names)}; name the one that tells "
            f"the right answer, such as `predicts: {names[0]}`",
        )
    if (target is None or target.how == "assumed") and spec.outcome_columns and reads_target(spec):
        types = ", ".join(f"{name}: {column.type}" for name, column in spec.outcome_columns.items())
        sure = f"; if {target.column} tells the right answer, write `predicts: {target.column}`" if target else ""
        fit = " or ".join(of for rank in RANKS.get(kind, ()) for of in rank)
        raise KeyProblem(
            key,
            f"is missing: no outcome has a type that fits a prediction of type {kind} ({types}){sure}; otherwise "
            f"declare an outcome of type {fit}",
        )

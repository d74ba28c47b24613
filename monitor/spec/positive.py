"""The positive class: the class whose rates fairness compares. The one place that says which, and who named it.

It is what `positive` of a fairness rule, of the prediction, of the outcome or of the score says; they must not
contradict each other. Without it, true of true/false and 1 of 1/0 count. Two classes with other names have none: a spec
of an earlier release goes on with the last in order, and says that the class is assumed; a new one has no value until
it names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema

from monitor.levels import answer, bool_level, number_level
from monitor.spec.base import KeyProblem, written

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec
    from monitor.spec.monitors import FairnessRule

PositiveClass = Literal["declared", "assumed"]
_ROLES: Final = ("prediction", "outcome", "score")


def _class_text(value: Any) -> Any:
    """YAML reads `true` and `1` as other things than texts; classes are compared as levels, so both are meant."""
    if isinstance(value, bool):
        return bool_level(value)
    return number_level(value) if isinstance(value, int | float) else value


ClassName = Annotated[
    str,
    BeforeValidator(_class_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}),
]


@dataclass(frozen=True, slots=True)
class DeclaredClass:
    """The positive class as a spec names it, and where it does, or would.

    Attributes:
        name: as it is written; None where nothing names it.
        key: where it is named, or belongs.
        truth: whether the prediction or the outcome is boolean: 1 and 0 are then true and false.
        assume: whether the last in order of two named classes stands in for it.
    """

    name: str | None
    key: str
    truth: bool
    assume: bool


def positive_of(spec: "ModelSpec", rule: "FairnessRule | None" = None) -> DeclaredClass:
    """The positive class that a fairness rule, or the model as a whole, compares."""
    assume, truth = spec.monitors.positive_class == "assumed", _truth(spec)
    at = spec.monitors.fairness.index(rule) if rule is not None and rule in spec.monitors.fairness else 0
    named = _named(spec)
    if rule is not None and rule.positive is not None:
        return DeclaredClass(rule.positive, f"monitors.fairness[{at}].positive", truth, assume)
    for name, value in named.items():
        return DeclaredClass(value, f"{written(('columns', name))}.positive", truth, assume)
    return DeclaredClass(None, f"{written(('columns', spec.with_role('prediction')[0]))}.positive", truth, assume)


def unnamed_class(spec: "ModelSpec") -> str | None:
    """What to know about a spec whose fairness rules may find two named classes and no positive one; None otherwise."""
    found = positive_of(spec)
    rules = [rule for rule in spec.monitors.fairness if rule.positive is None]
    if spec.task != "classification" or not rules or found.name is not None or found.truth or found.assume:
        return None
    return (
        f"no positive class is named: if {spec.with_role('prediction')[0]} has two classes with names, fairness has no "
        f"value until {found.key} names the one whose rates are compared"
    )


def _named(spec: "ModelSpec") -> Mapping[str, str]:
    """By column: the positive class that it names; the prediction first, then the outcome and the score."""
    columns = [name for role in _ROLES for name in spec.with_role(role)]
    return {name: value for name in columns if (value := spec.columns[name].positive) is not None}


def _truth(spec: "ModelSpec") -> bool:
    names = (spec.with_role("prediction")[0], *([spec.target] if spec.target is not None else []))
    return any(spec.columns[name].type == "boolean" for name in names)


def check_positive(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: `positive` stands where there is no class, two of them contradict each other, or it is no answer
            that a column of its type can hold.
    """
    for name, column in spec.columns.items():
        if column.positive is None:
            continue
        key = ("columns", name, "positive")
        if column.role not in _ROLES or spec.task != "classification":
            raise KeyProblem(
                key,
                f"is {column.positive!r}; only the prediction, the outcome and the score of a classification have a "
                "positive class, so leave it out",
            )
        if column.role == "outcome" and name != spec.target:
            told = spec.target or "none"
            raise KeyProblem(
                key, f"is {column.positive!r}; predictions are compared with another outcome ({told}): name it there"
            )
        if column.type == "boolean" and answer(column.positive, truth=True) not in ("true", "false"):
            raise KeyProblem(key, f"is {column.positive!r}, and the column is boolean; write true or false")
    truth = _truth(spec)
    columns = _named(spec)
    named = {written(("columns", name, "positive")): value for name, value in columns.items()}
    for at, rule in enumerate(spec.monitors.fairness):
        if rule.positive is None:
            continue
        place = ("monitors", "fairness", at, "positive")
        if spec.task != "classification":
            raise KeyProblem(place, f"is {rule.positive!r}, and a {spec.task} has no classes; leave it out")
        _same({**named, written(place): rule.positive}, place, truth=truth)
    if len(named) > 1:
        name = list(columns)[-1]
        _same(named, ("columns", name, "positive"), truth=truth)


def _same(named: Mapping[str, str], key: tuple[str | int, ...], *, truth: bool) -> None:
    (first, one), *others = named.items()
    for other, value in others:
        if answer(one, truth=truth) != answer(value, truth=truth):
            raise KeyProblem(
                key,
                f"{other} is {value!r} and {first} is {one!r}; a model has one positive class, so give both the same",
            )

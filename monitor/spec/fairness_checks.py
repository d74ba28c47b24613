"""Checks of the rules by which groups of people are compared."""

from typing import TYPE_CHECKING

from monitor.spec.base import KeyProblem
from monitor.spec.problems import nearest

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec
    from monitor.spec.monitors import FairnessRule


def check_groups(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: a rule groups by a column that is not protected.
    """
    for at, rule in enumerate(spec.monitors.fairness):
        for place, by in enumerate(rule.by):
            if by not in spec.columns or spec.columns[by].role != "protected":
                fitting = ", ".join(spec.with_role("protected")) or "none is declared"
                raise KeyProblem(
                    ("monitors", "fairness", at, "by", place),
                    f"names {by!r}, which is no column with role protected; such columns: {fitting}",
                )


def check_rules(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: two rules measure the same, a rule crosses a column with itself, or has a limit that can never be
            kept, or never be broken.
    """
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    for at, rule in enumerate(spec.monitors.fairness):
        for by in rule.groupings:
            first = seen.setdefault((rule.name, by), at)
            if first != at or len(set(by)) < len(by):
                what = f"compares {rule.name} by {' & '.join(by)}, as monitors.fairness[{first}] does"
                raise KeyProblem(("monitors", "fairness", at, "by"), f"{what}; give it in one rule")
        if rule.max is not None or rule.min is not None:
            _check_limits(rule, ("monitors", "fairness", at))


def _check_limits(rule: "FairnessRule", key: tuple[str | int, ...]) -> None:
    from monitor.fairness import FAIRNESS  # loads numpy, and few specs have limits of fairness

    metric = FAIRNESS.get(rule.metric)
    if metric is None or metric.directed:  # an unknown one is refused elsewhere; a directed ratio has both limits
        return
    ratio = metric.disparity.name == "ratio"
    if ratio and rule.max is not None:
        raise KeyProblem(
            (*key, "max"), f"is {rule.max:g}, and {rule.metric} is 1 where groups fare alike, so fair groups would "
            "alarm; write min",
        )  # fmt: skip
    if not ratio and rule.min is not None:
        raise KeyProblem(
            (*key, "min"), f"is {rule.min:g}, and {rule.metric} is 0 where groups fare alike, so fair groups would "
            "alarm; write max",
        )  # fmt: skip
    name, limit = ("min", rule.min) if ratio else ("max", rule.max)
    share = ratio or (metric.unit == "share" and "score" not in metric.needs)  # scores may have another range
    if limit is not None and not 0.0 <= limit <= (1.0 if share else limit):
        give = f"between 0 and 1; give a share, such as {0.8 if ratio else 0.1}" if share else "at 0 or above"
        raise KeyProblem((*key, name), f"is {limit:g}, and {rule.metric} always lies {give}")


def check_given(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: `given` of a rule names a column whose values cannot be held fixed.
    """
    for at, rule in enumerate(spec.monitors.fairness):
        for place, name in enumerate(rule.given):
            key = ("monitors", "fairness", at, "given", place)
            if name not in spec.columns:
                close = nearest(name, tuple(spec.columns))
                raise KeyProblem(key, f"names column {name!r}, which is not declared under columns{close}")
            if spec.columns[name].role not in ("input", "segment"):
                fitting = ", ".join(spec.with_role("input", "segment")) or "none is declared"
                raise KeyProblem(
                    key, f"names {name!r}, which has role {spec.columns[name].role}; choose from the columns with role "
                    f"input or segment: {fitting}",
                )  # fmt: skip
            if spec.columns[name].type not in ("number", "category", "boolean"):
                raise KeyProblem(key, f"names {name!r} of type {spec.columns[name].type}, which has no levels to be "
                                 "held fixed; name a number, a category or a boolean")  # fmt: skip
            if name in rule.given[:place]:
                raise KeyProblem(key, f"names {name!r} twice; leave one out")


def check_flips(spec: "ModelSpec") -> None:
    """
    Raises:
        KeyProblem: a flip test that swaps nothing, or that no champion can be asked.
    """
    flips, key = spec.monitors.flips, ("monitors", "flips")
    if flips is None:
        return
    if not flips.terms and not flips.columns:
        raise KeyProblem(key, "swaps nothing; write terms: [[he, she]], or columns: {title: [Mr, Ms]}")
    if flips.terms and not any(spec.columns[name].type == "text" for name in spec.with_role("input")):
        raise KeyProblem((*key, "terms"), "is set, and no input is a text; leave it out, or write columns")
    for name, values in flips.columns.items():
        at = (*key, "columns", name)
        if name not in spec.columns:
            close = nearest(name, tuple(spec.columns))
            raise KeyProblem(at, f"names column {name!r}, which is not declared under columns{close}")
        column = spec.columns[name]
        if column.role != "input" or column.type not in ("category", "boolean"):
            raise KeyProblem(
                at, f"has role {column.role} and type {column.type}; only an input of type category or boolean is read "
                "by the model and has values to put in each other's place",
            )  # fmt: skip
        if len(set(values)) < 2:
            raise KeyProblem(at, "has fewer than two values; write all that are swapped")
    task = None if spec.retrain is None else spec.retrain.recipe.get("task")
    if flips.terms and task == "tabular_classification":
        raise KeyProblem((*key, "terms"), "is set, and a tabular recipe reads no text; write columns")
    if task not in ("sequence_classification", "tabular_classification"):
        asked = "there is no retrain section" if spec.retrain is None else f"retrain.recipe.task is {task}"
        raise KeyProblem(
            key, f"asks the champion for classes, and {asked}; declare a recipe of task sequence_classification or "
            "tabular_classification, or leave flips out",
        )  # fmt: skip

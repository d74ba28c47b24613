"""The change envelope: what people allowed beforehand, checked before a run starts and again before a promotion.

The recipe as a spec gives it is read here too: the trainer's own fields, and `replay`, which belongs to curation.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import AppError
from monitor.fairness import FAIRNESS
from monitor.kpi import KPIS
from monitor.spec.base import Key
from monitor.spec.envelope import Envelope
from monitor.spec.model import ModelSpec
from monitor.spec.positive import positive_of
from monitor.spec.problems import nearest, problems
from monitor.tables import Dataset
from retrain.errors import BaseModelError, NoPolicyError, RecipeError
from retrain.learned import LEARNS, learned_column, learned_inputs, table_columns
from retrain.limits import LimitCheck, RunFacts, facts_from, outside
from retrain.tables import Run
from retrain.train.config import Preference, Recipe, place_of
from retrain.train.errors import DataError, UnsafeWeightsError, WeightsNotFoundError
from retrain.train.kinds import is_table
from retrain.train.tabular.files import PIPELINE, read_pipeline
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.weights import check_base

Section = TypeVar("Section", bound=BaseModel)


def gated(task: Literal["classification", "regression"]) -> tuple[str, ...]:
    """KPIs that a gate can compute: it has answers to held-out rows and the truth, and nothing the service measured."""
    return tuple(
        name
        for name, kpi in KPIS.items()
        if task in kpi.tasks and set(kpi.reads) <= {"prediction", "outcome"} and kpi.higher_is_better is not None
    )


GATED: Final = gated("classification")
GATED_NUMBERS: Final = gated("regression")
GATED_TEXTS: Final = ("exact_match", "chrf_mean")  # of answers that are written to held-out prompts
AnyRecipe = Recipe | TableRecipe

# Limits of gates that are judged only where `retrain.gates` names them.
LIMIT_OF_GATE: Final = {
    "golden_share": "golden", "calibration_margin": "calibration", "robustness_margin": "robustness",
    "max_latency_ratio": "latency", "safety_probes": "safety",
}  # fmt: skip


class Rehearsal(BaseModel):
    """How much of the champion's training data is trained again (`replay` in the recipe): a share, at most `rows`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(
        1.0, ge=0, le=1, description="share of what the champion was trained on", json_schema_extra={"unit": "0..1"}
    )
    rows: int | None = Field(
        None, ge=0, description="at most so many rows; more forget less, and take longer", examples=[2000],
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """`0.5` is a share, `2000` a number of rows."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return {"share": value} if value <= 1 else {"rows": value}

    def size(self, available: int) -> int:
        wanted = round(self.share * available)
        return wanted if self.rows is None else min(wanted, self.rows)


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec's recipe, read and checked."""

    recipe: AnyRecipe
    rehearsal: Rehearsal
    envelope: Envelope

    @property
    def preference(self) -> Preference | None:
        """Where a dpo recipe finds its pairs of answers."""
        return self.recipe.preference if isinstance(self.recipe, Recipe) else None

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """Raises NoPolicyError, RecipeError (naming each field of `retrain.recipe` with value and reason)."""
        if spec.retrain is None:
            raise NoPolicyError(spec.model)
        given = dict(spec.retrain.recipe)
        rehearsal = _read(Rehearsal, given.pop("replay", {}), ("retrain", "recipe", "replay"))
        if str(given.get("task")).startswith("tabular_"):
            table = _read(TableRecipe, given, ("retrain", "recipe"))
            _check_table(spec, table)
            _check_mitigation(spec, table)
            return cls(_favouring(spec, table), rehearsal, spec.retrain.envelope)
        recipe = _read(Recipe, given, ("retrain", "recipe"))
        if recipe.task == "sequence_classification" and spec.task != "classification":
            raise RecipeError(
                f"retrain.recipe.task sequence_classification does not fit task {spec.task}; use causal_lm or dpo",
                field="retrain.recipe.task",
            )
        _check_mitigation(spec, recipe)
        if recipe.task in LEARNS:
            learned_column(spec, recipe.task, recipe.preference)
            learned_inputs(spec, recipe.preference)
        return cls(_favouring(spec, recipe), rehearsal, spec.retrain.envelope)


OneRecipe = TypeVar("OneRecipe", Recipe, TableRecipe)


def _favouring(spec: ModelSpec, recipe: OneRecipe) -> OneRecipe:
    """The recipe whose mitigation looks at the class that the spec declares as positive, unless it names one."""
    found, declared = recipe.mitigation, positive_of(spec).name
    if found is None or found.positive is not None or declared is None:
        return recipe
    return recipe.model_copy(update={"mitigation": found.model_copy(update={"positive": declared})})


def _check_mitigation(spec: ModelSpec, recipe: AnyRecipe) -> None:
    found = recipe.mitigation
    if found is None:
        return
    key, groups = "retrain.recipe.mitigation", spec.with_role("protected")
    for at, name in enumerate(found.by):
        if name not in groups:
            raise RecipeError(
                f"{key}.by[{at}]: {name!r} is no column with role protected; such columns: "
                f"{', '.join(groups) or 'none is declared'}", field=f"{key}.by", value=name,
            )  # fmt: skip
        if (kind := spec.columns[name].type) not in ("category", "boolean"):
            raise RecipeError(
                f"{key}.by[{at}]: {name!r} has type {kind}, and groups of a mitigation are levels; declare the groups "
                "as a column of type category", field=f"{key}.by", value=name,
            )  # fmt: skip
        if spec.columns[name].proxy is not None or name in found.by[:at]:
            why = "stands there already" if name in found.by[:at] else "only guesses at membership (it has a proxy)"
            raise RecipeError(f"{key}.by[{at}]: {name!r} {why}; leave it out", field=f"{key}.by", value=name)
    of_labels = tuple(
        name for name, one in FAIRNESS.items() if one.task == "classification" and "score" not in one.needs
    )
    if found.metric not in of_labels:
        unknown = f"is no fairness metric{nearest(found.metric, of_labels)}"
        why = "is not measured on labels alone" if found.metric in FAIRNESS else unknown
        raise RecipeError(
            f"{key}.metric: {found.metric!r} {why}; choose from "
            f"{', '.join(of_labels)}", field=f"{key}.metric", value=found.metric,
        )  # fmt: skip


def _check_table(spec: ModelSpec, recipe: TableRecipe) -> None:
    wanted = recipe.task.removeprefix("tabular_")
    if spec.task != wanted:
        fit = f"use tabular_{spec.task}" if spec.task in ("classification", "regression") else "use causal_lm"
        raise RecipeError(
            f"retrain.recipe.task {recipe.task} does not fit task {spec.task}; {fit}", field="retrain.recipe.task"
        )
    learned_column(spec, recipe.task)
    table_columns(spec)


def values_of(recipe: AnyRecipe) -> dict[str, Any]:
    """What an envelope limits of a recipe, by name; of a tabular one the estimator's parameters too."""
    found = recipe.model_dump(mode="json")
    return found | (recipe.complete if isinstance(recipe, TableRecipe) else {})


def measurable(recipe: AnyRecipe) -> tuple[str, ...]:
    """KPIs that a gate can compute for a recipe."""
    if recipe.task in ("causal_lm", "dpo"):
        return GATED_TEXTS if recipe.task == "causal_lm" else ()
    return GATED_NUMBERS if recipe.task == "tabular_regression" else GATED


def _read(section: type[Section], document: Any, key: Key) -> Section:
    try:
        return section.model_validate(document)
    except ValidationError as error:
        found = problems(section, document, error, key)
        listed = [{name: problem[name] for name in ("field", "reason", "value")} for problem in found]
        raise RecipeError(f"spec field {listed[0]['field']}: {listed[0]['reason']}", problems=listed) from error


def breaches(plan: Plan, facts: RunFacts | None = None) -> tuple[LimitCheck, ...]:
    """Every limit that a recipe, and what is known of its run, leaves; empty when inside."""
    envelope = plan.envelope
    known = replace(facts or RunFacts(), recipe=values_of(plan.recipe))
    choices = ", ".join(measurable(plan.recipe))
    if plan.recipe.task in ("causal_lm", "dpo"):
        choices = f"{choices}, or leave kpi_floor out" if choices else "no KPI: leave kpi_floor out"
    unmeasured = (
        LimitCheck(
            f"kpi_floor.{name}", floor, None, KPIS[name].unit if name in KPIS else "", False,
            f"kpi_floor names {name!r}, which no gate can measure; choose from "
            f"{choices}",
        )
        for name, floor in envelope.kpi_floor.items()
        if name not in measurable(plan.recipe)
    )  # fmt: skip
    unheard = (
        LimitCheck(
            f"fairness.{name}", limit, None, "", False,
            f"fairness names {name!r}, which is no such metric{nearest(name, tuple(FAIRNESS))}; choose from "
            f"{', '.join(FAIRNESS)}",
        )
        for name, limit in envelope.fairness.items()
        if name not in FAIRNESS
    )  # fmt: skip
    return (*outside(envelope, known), *unmeasured, *unheard)


def facts_of(run: Run, train: Dataset | None) -> RunFacts:
    """What is measured of a run so far, from what was recorded of it and of its training set."""
    origin = train.provenance if train is not None else {}
    return facts_from(run.metrics, origin, train.rows if train is not None else None, run.created_at)


_OF_TABLES: Final = ("no_regression", "fairness", "forgetting", "integrity", "calibration")


def unjudgeable(spec: ModelSpec, plan: Plan) -> tuple[LimitCheck, ...]:
    """What the envelope asks and no gate can ever judge for this model, so that every run would end in vain."""
    envelope, found = plan.envelope, list[tuple[str, Any, str]]()
    answers, numbers = plan.recipe.task in ("causal_lm", "dpo"), plan.recipe.task == "tabular_regression"
    limited = [*envelope.fairness, *(rule.metric for rule in spec.monitors.fairness)]
    gates = spec.retrain.gates if spec.retrain is not None else ()
    judged = [g for g in _OF_TABLES if not numbers or g != "calibration"]  # which needs classes
    if is_table(plan.recipe.task) and (other := [g for g in gates if g not in judged]):
        words = (
            f"retrain.gates names {', '.join(other)}, which no tabular recipe is judged by; choose from "
            f"{', '.join(judged)}"
        )
        found.append(("gates", list(gates), words))
    if "compared_by" in envelope.model_fields_set and plan.recipe.task != "causal_lm":
        words = (
            f"compared_by names {', '.join(envelope.compared_by)}, and a recipe of task {plan.recipe.task} writes no "
            "answers to compare; leave it out"
        )
        found.append(("compared_by", list(envelope.compared_by), words))
    if (answers or numbers) and limited and "fairness" in gates:
        made = f"{plan.recipe.task} recipe writes texts" if answers else "tabular_regression recipe predicts numbers"
        words = (
            f"gate fairness has {', '.join(dict.fromkeys(limited))} to judge, which compares classes, and a {made}; "
            "leave fairness out of retrain.gates and of retrain.envelope"
        )
        found.append(("fairness", dict(envelope.fairness), words))
    elif envelope.fairness and not spec.with_role("protected"):
        words = (
            f"fairness limits {', '.join(envelope.fairness)}, but no column has role protected; give it to the column "
            "whose groups are compared"
        )
        found.append(("fairness", dict(envelope.fairness), words))
    for name, gate in (("kpi_floor", "no_regression"), ("fairness", "fairness")):
        if (asked := getattr(envelope, name)) and gate not in gates:
            words = (
                f"{name} limits {', '.join(asked)}, but retrain.gates leaves out {gate}, which keeps it; add it there"
            )
            found.append((name, dict(asked), words))
    for name, gate in LIMIT_OF_GATE.items():
        if name in envelope.model_fields_set and gate not in gates:
            words = f"{name} is a limit of gate {gate}, which retrain.gates leaves out; add it there"
            found.append((name, envelope.model_dump(mode="json").get(name), words))
    for name, limit in envelope.fairness.items():
        if not 0 <= limit <= 1:
            words = f"fairness limits {name} to {limit:g}, which lies outside 0 to 1; write a number between them"
            found.append((f"fairness.{name}", limit, words))
    for name, floor in envelope.kpi_floor.items():
        if name == "chrf_mean" and name in measurable(plan.recipe) and not 0 <= floor <= 100:
            words = f"kpi_floor asks for {name} {floor:g}, and chrF lies within 0 to 100; write points of 100"
            found.append((f"kpi_floor.{name}", floor, words))
        if name in measurable(plan.recipe) and KPIS[name].unit == "share" and not 0 <= floor <= 1:
            words = f"kpi_floor asks for {name} {floor:g}, and no model leaves 0 to 1; write a share"
            found.append((f"kpi_floor.{name}", floor, words))
    return tuple(LimitCheck(limit, declared, None, "", False, words) for limit, declared, words in found)


def floor_breaches(envelope: Envelope, values: Mapping[str, float | None]) -> tuple[str, ...]:
    """KPI floors that a challenger's values do not reach; a value that is missing does not reach its floor."""
    found = []
    for name, floor in envelope.kpi_floor.items():
        value = values.get(name)
        if value is None:
            found.append(f"{name} was not measured, its floor is {floor:g}")
        elif KPIS[name].higher_is_better and value < floor:
            found.append(f"{name} {value:.4f} is below its floor {floor:g}")
        elif not KPIS[name].higher_is_better and value > floor:
            found.append(f"{name} {value:.4f} is above its limit {floor:g}")
    return tuple(found)


def base_folder(recipe: AnyRecipe, home: Path, roots: Sequence[Path] = ()) -> Path:
    """Folder of the base model: a path (relative ones start at the home folder), or a snapshot in the hub cache.

    A path that holds no model, for whatever reason, and one outside the roots have one answer: a spec must not be a way
    to ask which folders and people this machine has.

    Args:
        roots: folders in which base models may lie; without any, everywhere.

    Raises:
        BaseModelError: missing, incomplete, or with pickled weights only.
    """
    folder = _cached(recipe) if isinstance(recipe, Recipe) and not recipe.is_path else _named(recipe, home, roots)
    with as_given(recipe, folder):
        try:
            if isinstance(recipe, TableRecipe):
                read_pipeline(folder, "retrain.recipe.base_model")
            else:
                check_base(folder, "retrain.recipe.base_model")
        except (WeightsNotFoundError, UnsafeWeightsError, DataError) as error:
            raise BaseModelError(error.message, **error.facts) from error
    return folder


@contextmanager
def as_given(recipe: AnyRecipe, folder: Path) -> Iterator[None]:
    """Let errors name the base as the spec does, not by the place where it lies on this machine."""
    try:
        yield
    except AppError as error:
        place, given = str(folder), recipe.base_model
        error.message = error.message.replace(place, given)
        error.args = (error.message, *error.args[1:])
        error.facts = {k: v.replace(place, given) if isinstance(v, str) else v for k, v in error.facts.items()}
        raise


def _named(recipe: AnyRecipe, home: Path, roots: Sequence[Path]) -> Path:
    kept_in = PIPELINE if isinstance(recipe, TableRecipe) else "config.json"
    try:
        folder = place_of(recipe.base_model, home)
        inside = not roots or any(folder.is_relative_to(root.expanduser().resolve()) for root in roots)
        there = inside and (folder / kept_in).is_file()
    except (OSError, RuntimeError, ValueError):  # no right to look, a name too long, a ring of links, no such person
        there = False
    if not there:
        raise BaseModelError(
            f"retrain.recipe.base_model {recipe.base_model} is no folder with a model ({kept_in}) that may be used "
            "here; give one that the service can read, inside ASSAY_TRAIN__BASE_ROOTS where that is set",
            field="retrain.recipe.base_model", value=recipe.base_model,
        )  # fmt: skip
    return folder


def _cached(recipe: Recipe) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(recipe.base_model, "config.json", revision=recipe.revision)
    if not isinstance(found, str):
        raise BaseModelError(
            f"retrain.recipe.base_model {recipe.base_model} at {recipe.revision} is not in the local hub cache; "
            "download it beforehand (a run never uses the network), or give a folder",
            field="retrain.recipe.base_model", value=recipe.base_model,
        )  # fmt: skip
    return Path(found).parent

"""The recipe of a tabular model, as written in a spec, and the configuration of its run."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from monitor.spec.base import KeyProblem
from monitor.spec.problems import nearest
from retrain.train.config import ClassWeights, Frozen, RunFiles, Validation, is_a_path
from retrain.train.kinds import TableTask, classifies
from retrain.train.mitigation.keys import Mitigation, refusal
from retrain.train.tabular.estimator_list import ESTIMATORS, Entry, Estimator, Value

MAX_LEVELS: Final = 200


class TableRecipe(Frozen):
    """How to retrain a model of typed columns (numbers, categories, booleans), as written in a model's spec.

    Every run trains the pipeline and the estimator from the start, on the curated rows.
    """

    base_model: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = Field(
        description="the first champion: a folder that `assay first-model` made, as a path that starts with `/`, `./`, "
        "`../` or `~/`",
        examples=["./models/credit-v1"],
    )
    task: TableTask = Field(
        description="`tabular_classification` learns a category or boolean, `tabular_regression` a number"
    )
    estimator: Estimator = Field(
        description="what is fitted; `logistic_regression` needs classes, `ridge` a number", examples=["lightgbm"]
    )
    parameters: Mapping[str, Value] = Field(
        default_factory=dict, description="of the estimator, by its library's name; what is left out has the default "
        "that [retraining.md](retraining.md#tables) lists",
        examples=["{n_estimators: 300, num_leaves: 15}"],
    )  # fmt: skip
    max_levels: int = Field(
        default=50, ge=2, le=MAX_LEVELS, description="most frequent levels of a category that count; a rarer one is as "
        "one that was never seen", json_schema_extra={"unit": "levels"},
    )  # fmt: skip
    class_weights: ClassWeights = None
    early_stopping: int | None = Field(
        default=None, ge=1, description="of hist_gradient_boosting, xgboost and lightgbm: stop when so many trees made "
        "the validation rows no better, and keep the best", examples=["20"], json_schema_extra={"unit": "trees"},
    )  # fmt: skip
    validation: Validation = 0.1
    mitigation: Mitigation | None = Field(
        default=None, exclude_if=lambda value: value is None,  # a recipe without it keeps its digest
        description="for classification: how groups are treated more alike, and the trade-off that is shown before "
        "anybody approves a run; see [mitigation](retraining.md#mitigation)",
        examples=["{method: reweigh, by: [sex]}"],
    )  # fmt: skip
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="start of every random choice; the same seed repeats a run, byte by byte"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        entry, own = self.entry, classifies(self.task)
        if not is_a_path(self.base_model):
            raise KeyProblem(("base_model",), "is no path; give a folder that starts with `/`, `./`, `../` or `~/`")
        if (own and not entry.classifies) or (not own and not entry.regresses):
            fit = ", ".join(n for n, e in ESTIMATORS.items() if (e.classifies if own else e.regresses))
            raise KeyProblem(("estimator",), f"is {self.estimator}, which does not fit {self.task}; choose from {fit}")
        if self.class_weights is not None and not own:
            raise KeyProblem(("class_weights",), f"is set, and task {self.task} has no classes; leave it out")
        if self.early_stopping is not None and not entry.stops_early:
            fit = ", ".join(n for n, e in ESTIMATORS.items() if e.stops_early)
            raise KeyProblem(("early_stopping",), f"is set, and {self.estimator} is not fitted tree by tree; leave it "
                             f"out, or choose from {fit}")  # fmt: skip
        if self.mitigation is not None and (why := refusal(self.mitigation.method, self.task)) is not None:
            raise KeyProblem(("mitigation", "method"), why)
        for name, value in self.parameters.items():
            known = entry.parameters.get(name)
            if known is None:
                close = nearest(name, tuple(entry.parameters))
                raise KeyProblem(("parameters", name), f"is no parameter of {self.estimator}{close}; choose from "
                                 f"{', '.join(entry.parameters)}")  # fmt: skip
            if not known.fits(value):
                raise KeyProblem(("parameters", name), f"is {value!r}; give {known.words}")
        return self

    @property
    def entry(self) -> Entry:
        return ESTIMATORS[self.estimator]

    @property
    def complete(self) -> dict[str, Any]:
        """Every parameter of the estimator, the defaults of those that are left out included."""
        given = {n: int(v) if self.entry.parameters[n].whole and v is not None else v
                 for n, v in self.parameters.items()}  # fmt: skip
        return {name: known.default for name, known in self.entry.parameters.items()} | given


class TableColumn(Frozen):
    """An input as the spec declares it."""

    name: str
    type: Literal["number", "category", "boolean"]


class TableRunConfig(RunFiles):
    """One run of a tabular recipe, complete: nothing else is read from anywhere."""

    recipe: TableRecipe
    columns: tuple[TableColumn, ...]

    @model_validator(mode="after")
    def _labels_fit_the_task(self) -> Self:
        if classifies(self.recipe.task) and len(self.labels) < 2:
            raise ValueError(f"labels: {list(self.labels)} has fewer than two entries; list every label in order")
        return self

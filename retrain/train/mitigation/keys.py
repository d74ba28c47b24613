"""What a recipe declares about fairness in training. No model library is imported here: the service reads it too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from monitor.spec.base import KeyProblem
from monitor.spec.positive import ClassName
from retrain.train.kinds import AnyTask

MitigationMethod = Literal["reweigh", "resample", "threshold", "counterfactual_augmentation"]
POSITIVE_KEY: Final = "retrain.recipe.mitigation.positive"
STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Fitting:
    """A method: the tasks it fits, why it fits no other, and what people must know of it before they approve it."""

    tasks: tuple[AnyTask, ...]
    why: str
    caution: str


CAUTION: Final = (
    "thresholds by group use the protected attribute each time a decision is made, which many laws forbid (in US "
    "lending the Equal Credit Opportunity Act, in employment 42 USC 2000e-2(l)): have it reviewed before anybody "
    "approves it"
)
_ROWS: Final = "its rows are what the groups are counted in, and only a classification has classes to count"
METHODS: Final[Mapping[MitigationMethod, Fitting]] = {
    "reweigh": Fitting(("sequence_classification", "tabular_classification"), _ROWS, ""),
    "resample": Fitting(("sequence_classification", "tabular_classification"), _ROWS, ""),
    "threshold": Fitting(
        ("tabular_classification",),
        "it decides by the group of each row when the model is served, which a text does not tell", CAUTION,
    ),
    "counterfactual_augmentation": Fitting(
        ("sequence_classification",), "it swaps words of declared pairs, which only a text to be classified has", "",
    ),
}  # fmt: skip


class Mitigation(BaseModel):
    """How a run makes the model treat groups more alike; the run shows the trade-off before anybody approves it.

    `reweigh` lets rows count so that group and label are independent (Kamiran and Calders, 2012); `resample` repeats
    and leaves out rows to the same end; `threshold` decides by group with fairlearn's ThresholdOptimizer;
    `counterfactual_augmentation` also trains on each text with the terms of declared pairs swapped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MitigationMethod = Field(
        description="`reweigh` or `resample` the training rows, `counterfactual_augmentation` of texts by term pairs, "
        "or a `threshold` for each group of a tabular model, which needs the group at each decision"
    )
    by: tuple[str, ...] = Field(
        default=(), description="columns with role protected whose groups are made alike; several are taken together",
        examples=["[sex]"],
    )  # fmt: skip
    metric: str = Field(
        default="demographic_parity_difference",
        description="the fairness metric of the trade-off curve; with `threshold`, what is held equal: "
        "demographic parity or equalized odds",
    )
    strength: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="1 makes group and label independent in training (reweigh, resample), or decides by "
        "the groups' thresholds alone (threshold); 0 changes nothing, and what lies between goes part of the way",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    positive: ClassName | None = Field(
        default=None, description="the class whose rates are compared; without it, as `positive` of the prediction",
        examples=["approved"],
    )  # fmt: skip
    pairs: tuple[tuple[str, str], ...] = Field(
        default=(), description="with counterfactual_augmentation: the terms that are swapped, whole words, both ways",
        examples=["[[he, she], [Mr, Ms]]"],
    )  # fmt: skip
    validation: float = Field(
        default=0.25, gt=0, le=0.5, description="share of the training rows on which the curve is measured; the model "
        "itself is trained on all rows, but for `threshold`, whose thresholds are chosen on them",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip

    @field_validator("method", mode="before")
    @classmethod
    def _offered(cls, value: Any) -> Any:
        if value in ("adversarial", "adversarial_debiasing"):
            raise ValueError(
                f"is {value}: it trains a network of its own, which no recipe here makes or serves; choose from "
                f"{', '.join(METHODS)}"
            )
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Mitigation":
        if self.method == "counterfactual_augmentation":
            if not self.pairs:
                raise KeyProblem(("pairs",), "is missing; write the pairs of terms to swap, such as [[he, she]]")
            from monitor.fairness.causes.swap import Swap

            try:
                Swap.of(self.pairs)
            except ValueError as error:
                raise KeyProblem(("pairs",), str(error)) from error
        elif self.pairs:
            raise KeyProblem(("pairs",), f"is set, and {self.method} swaps no words; leave it out")
        if not self.by:
            raise KeyProblem(("by",), "is missing; name a column with role protected")
        if self.method == "threshold" and not self.metric.startswith(("demographic_parity", "equalized_odds")):
            raise KeyProblem(("metric",), f"is {self.metric}, which no thresholds hold equal; use "
                             "demographic_parity_difference or equalized_odds_difference")  # fmt: skip
        if self.method == "counterfactual_augmentation" and self.strength != 1.0:
            raise KeyProblem(("strength",), f"is set, and {self.method} has none; leave it out")
        return self

    @property
    def weighs(self) -> bool:
        return self.method in ("reweigh", "resample")


def refusal(method: MitigationMethod, task: AnyTask) -> str | None:
    """Why a method does not fit a task, and what does; None if it fits."""
    if task in METHODS[method].tasks:
        return None
    fit = [name for name, one in METHODS.items() if task in one.tasks]
    instead = f"choose from {', '.join(fit)}" if fit else f"no method fits {task}: leave mitigation out"
    return f"is {method}, which does not fit {task}: {METHODS[method].why}; {instead}"


def caution_of(mitigation: Mapping[str, Any]) -> str:
    """What people must know before they approve a run with this mitigation; empty where there is nothing."""
    return METHODS[mitigation["method"]].caution if mitigation.get("method") in METHODS else ""

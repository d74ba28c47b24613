"""When a model is retrained and within which limits: triggers, recipe, envelope, gates and approval."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from monitor.spec.base import SpecPart
from monitor.spec.duration import Duration
from monitor.spec.envelope import Envelope, RunBudget
from monitor.spec.triggers import AllowedHours, Trigger

WORSE_BY: Final = 0.5

GateName = Literal[
    "no_regression", "fairness", "forgetting", "integrity", "golden", "calibration", "robustness", "latency", "safety"
]


class Retrain(SpecPart):
    """The retraining policy of a model."""

    when: tuple[Trigger, ...] = Field(
        min_length=1, description="what starts a run: an alarm of drift, of a KPI or of fairness, new outcomes, "
        "new classes, a schedule",
        examples=["[drift, kpi, {new_outcomes: 5000}]"],
    )  # fmt: skip
    cooldown: Duration = Field("24h", description="no run starts within this time of the last one")
    worse_by: float = Field(
        WORSE_BY, ge=0, exclude_if=lambda value: value == WORSE_BY,  # a spec without it keeps its digest
        description="what started a run starts no other until it has cleared, or is by this share further beyond its "
        "limit than it was then",
        json_schema_extra={"unit": "share of the distance"},
    )  # fmt: skip
    allowed_hours: AllowedHours | None = Field(
        None, exclude_if=lambda value: value is None,
        description="when a run may start; without it, at any time",
        examples=['{hours: "22:00-06:00", timezone: Europe/Berlin}'],
    )  # fmt: skip
    min_outcomes: int = Field(
        200, ge=10, description="labelled events since the last training set that a run needs to start",
        json_schema_extra={"unit": "events"},
    )  # fmt: skip
    recipe: Mapping[str, Any] = Field(
        description="how the model is trained: base model, task, learning rate and so on; [its keys](#retrainrecipe)",
        examples=["{base_model: /models/qwen-0.5b, method: qlora, task: sequence_classification}"],
    )
    envelope: Envelope = Field(Envelope(), description="the limits of every run; outside them it waits for approval")
    budget: RunBudget = Field(RunBudget(), description="what all runs of the model together may use; then none starts")
    gates: tuple[GateName, ...] = Field(
        ("no_regression", "fairness", "forgetting", "integrity"),
        description="checks that a candidate must pass before it is promoted; an unknown one blocks. See "
        "[gates](retraining.md#gates)",
        examples=["[no_regression, integrity]"],
    )
    approval: Literal["none", "one", "two"] = Field(
        "none",
        description="how many people must approve a promotion; a high-risk model needs one or two, and nobody "
        "may approve "
        "a run that they started",
    )

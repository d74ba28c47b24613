"""When a model is retrained and within which limits: triggers, recipe, envelope, gates and approval."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from monitor.spec.base import SpecPart, is_new
from monitor.spec.cron import read_cron
from monitor.spec.duration import Duration
from monitor.spec.envelope import Envelope, RunBudget


class NewOutcomes(SpecPart):
    """Retrain after this many outcomes since the last training set."""

    new_outcomes: int = Field(
        ge=1, description="outcomes since the last training set that start a run", examples=[5000],
        json_schema_extra={"unit": "outcomes"},
    )  # fmt: skip


class Cron(SpecPart):
    """Retrain on a schedule of five crontab fields, in UTC."""

    cron: str = Field(
        description="five crontab fields, in UTC: numbers, names such as `jan` or `sun`, ranges, lists and steps",
        examples=["0 3 * * 0"],
    )

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        if is_new(info):
            read_cron(value)
        return value


Trigger = Literal["drift", "kpi", "fairness"] | NewOutcomes | Cron


class Retrain(SpecPart):
    """The retraining policy of a model."""

    when: tuple[Trigger, ...] = Field(
        min_length=1, description="what starts a run: an alarm of drift, of a KPI or of fairness, new outcomes, "
        "a schedule",
        examples=["[drift, kpi, {new_outcomes: 5000}]"],
    )  # fmt: skip
    cooldown: Duration = Field("24h", description="no run starts within this time of the last one")
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
    gates: tuple[Literal["no_regression", "fairness", "forgetting", "integrity"], ...] = Field(
        ("no_regression", "fairness", "forgetting", "integrity"),
        description="checks that a candidate must pass before it is promoted; an unknown one blocks",
        examples=["[no_regression, integrity]"],
    )
    approval: Literal["none", "one", "two"] = Field(
        "none",
        description="how many people must approve a promotion; a high-risk model needs one or two, and nobody "
        "may approve "
        "a run that they started",
    )

"""When and how far a model may be retrained: triggers, recipe, envelope, gates, approval."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from monitor.spec.base import SpecPart
from monitor.spec.duration import Duration


class NewOutcomes(SpecPart):
    new_outcomes: int = Field(ge=1)


class Cron(SpecPart):
    cron: str

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(f"cron is {value!r}; write five fields, such as `0 3 * * 0`")
        return value


class Envelope(SpecPart):
    """Limits a retrain may not leave; people fix them beforehand."""

    max_rows: int = Field(200_000, ge=1)
    max_gpu_hours: float = Field(4.0, gt=0, description="hours of one training run, on GPU or CPU")
    base_models: tuple[str, ...] = ()
    kpi_floor: Mapping[str, float] = Field(default_factory=dict)
    fairness: Mapping[str, float] = Field(default_factory=dict)
    max_forgetting: float = Field(0.04, ge=0, le=1, description="largest loss of the KPI on the old hold-out, share")
    max_regression: float = Field(0.0, ge=0, le=1, description="largest loss of the KPI on new held-out rows, share")


Trigger = Literal["drift", "kpi", "fairness"] | NewOutcomes | Cron


class Retrain(SpecPart):
    when: tuple[Trigger, ...] = Field(min_length=1)
    cooldown: Duration = "24h"
    min_outcomes: int = Field(
        200, ge=10, description="labelled events since the last training set, without which no run starts"
    )
    recipe: Mapping[str, Any]
    envelope: Envelope = Envelope()
    gates: tuple[Literal["no_regression", "fairness", "forgetting", "integrity"], ...] = (
        "no_regression", "fairness", "forgetting", "integrity",
    )  # fmt: skip
    approval: Literal["none", "one", "two"] = "none"

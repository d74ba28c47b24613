"""When a model is retrained and within which limits: triggers, recipe, envelope, gates and approval."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from monitor.spec.base import SpecPart
from monitor.spec.duration import Duration


class NewOutcomes(SpecPart):
    """Retrain after this many outcomes since the last training set."""

    new_outcomes: int = Field(ge=1)


class Cron(SpecPart):
    """Retrain on a schedule of five crontab fields, in UTC."""

    cron: str

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(f"cron is {value!r}; write five fields separated by spaces, such as `0 3 * * 0`")
        return value


class Envelope(SpecPart):
    """The limits of every retrain, which people set beforehand."""

    max_rows: int = Field(200_000, ge=1)
    max_gpu_hours: float = Field(4.0, gt=0, description="longest training run in hours, on GPU or CPU")
    base_models: tuple[str, ...] = ()
    kpi_floor: Mapping[str, float] = Field(default_factory=dict)
    fairness: Mapping[str, float] = Field(default_factory=dict)
    max_forgetting: float = Field(0.04, ge=0, le=1, description="largest drop of the KPI on the old hold-out, 0..1")
    max_regression: float = Field(0.0, ge=0, le=1, description="largest drop of the KPI on new held-out rows, 0..1")


Trigger = Literal["drift", "kpi", "fairness"] | NewOutcomes | Cron


class Retrain(SpecPart):
    """The retraining policy of a model."""

    when: tuple[Trigger, ...] = Field(min_length=1)
    cooldown: Duration = "24h"
    min_outcomes: int = Field(
        200, ge=10, description="labelled events since the last training set that a run needs to start"
    )
    recipe: Mapping[str, Any]
    envelope: Envelope = Envelope()
    gates: tuple[Literal["no_regression", "fairness", "forgetting", "integrity"], ...] = (
        "no_regression", "fairness", "forgetting", "integrity",
    )  # fmt: skip
    approval: Literal["none", "one", "two"] = "none"

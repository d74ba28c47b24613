"""The limits of every retrain, which people set beforehand, and what its runs may use in a day and a month."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from governance.provenance.declaration import Consent
from monitor.spec.base import KeyProblem, SpecPart, is_new
from monitor.spec.duration import Duration
from monitor.spec.gate_limits import GateLimits
from monitor.spec.provenance import Licence


def _ends(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError("write two numbers, the least and the most, such as `[4, 64]`")
    return value


Range = Annotated[tuple[float, ...], AfterValidator(_ends)]


class Envelope(GateLimits):
    """The limits of every retrain, which people set beforehand."""

    base_models: tuple[str, ...] = Field(
        (), description="base models that a recipe may name; without any, every one", examples=["[/models/qwen-0.5b]"]
    )
    revisions: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by base model: the commits of a hub id, or the digests of a folder, that may be used; a base "
        "model without an entry may have any",
        examples=["{/models/qwen-0.5b: ['sha256:9f2c...']}"],
    )
    methods: tuple[str, ...] = Field(
        (), description="methods that a recipe may name; without any, every one", examples=["[qlora, lora]"]
    )
    hyperparameters: Mapping[str, Range] = Field(
        default_factory=dict,
        description="by key of the recipe: the least and the most that it may be",
        examples=["{learning_rate: [1e-5, 3e-3], epochs: [1, 5], r: [4, 64]}"],
    )
    sources: tuple[str, ...] = Field(
        (),
        description="where training rows may come from: `events`, and registered datasets by name; without any, "
        "everywhere",
        examples=["[events, intents-2026]"],
    )
    licences: tuple[Licence, ...] = Field(
        (), exclude_if=lambda value: not value,  # an envelope without it keeps its digest
        description="SPDX expressions of the licences under which events, registered datasets and base models may be "
        "used; without any, every one. What has none declared blocks a run; see "
        "[provenance](governance.md#licence-and-consent)",
        examples=["[Apache-2.0, CC-BY-4.0, LicenseRef-internal]"],
    )  # fmt: skip
    consent: tuple[Consent, ...] = Field(
        (), exclude_if=lambda value: not value,
        description="bases of consent on which events and registered datasets may be trained on, `not_personal` "
        "always; without any, every one. What has none declared blocks a run",
        examples=["[consent, contract]"],
    )  # fmt: skip
    data_window: Duration | None = Field(
        None, description="events older than this when a run begins are not used", examples=["180d"]
    )
    min_rows: int = Field(
        0, ge=0, description="least rows of one training set; fewer wait for approval",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    max_rows: int = Field(
        200_000, ge=1, description="most rows of one training set; the oldest above it are left out",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    max_synthetic_share: float = Field(
        1.0, ge=0, le=1, description="largest share of training rows from datasets that are marked synthetic",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    max_cut_share: float = Field(
        0.01, ge=0, le=1,
        description="largest share of a set's rows that `max_length` of the recipe drops or cuts; more wait for "
        "approval before the first step",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    max_gpu_hours: float = Field(
        4.0, gt=0, description="longest training run, on GPU or CPU; it is stopped there and waits for approval",
        json_schema_extra={"unit": "hours"},
    )  # fmt: skip
    max_kwh: float | None = Field(
        None, gt=0, description="most energy of one training run, as estimated; it is stopped there and waits",
        json_schema_extra={"unit": "kWh"}, examples=["2.5"],
    )  # fmt: skip
    max_adapter_mb: float | None = Field(
        None, gt=0, description="largest adapter, all of its files together", json_schema_extra={"unit": "MB"},
        examples=["200"],
    )  # fmt: skip
    max_adapter_parameters: int | None = Field(
        None, ge=1, description="most numbers that are trained", json_schema_extra={"unit": "parameters"},
        examples=["10000000"],
    )  # fmt: skip
    kpi_floor: Mapping[str, float] = Field(
        default_factory=dict, description="by KPI: what a candidate must reach on held-out rows to be promoted",
        examples=["{accuracy: 0.85}"], json_schema_extra={"unit": "the KPI's own"},
    )  # fmt: skip
    fairness: Mapping[str, float] = Field(
        default_factory=dict, description="by fairness metric: the limit that a candidate must keep",
        examples=["{equalized_odds_difference: 0.1}"], json_schema_extra={"unit": "0..1"},
    )  # fmt: skip

    @model_validator(mode="after")
    def _rows_fit(self, info: ValidationInfo) -> Self:
        if is_new(info) and self.min_rows > self.max_rows:
            raise KeyProblem(
                ("min_rows",), f"is {self.min_rows}, above max_rows, {self.max_rows}; no run could be inside"
            )
        return self


class RunBudget(SpecPart):
    """What all runs together may use in a day and a month, both in UTC; runs that failed count, and those under way."""

    runs_per_day: int | None = Field(
        None, ge=0, description="most runs that start in a day", json_schema_extra={"unit": "runs"}, examples=["2"]
    )
    runs_per_month: int | None = Field(
        None, ge=0, description="most runs that start in a month", json_schema_extra={"unit": "runs"}, examples=["20"]
    )
    gpu_hours_per_day: float | None = Field(
        None, ge=0, description="most hours of training and evaluation in a day; a run is stopped there and waits",
        json_schema_extra={"unit": "hours"}, examples=["6"],
    )  # fmt: skip
    gpu_hours_per_month: float | None = Field(
        None, ge=0, description="most hours of training and evaluation in a month", json_schema_extra={"unit": "hours"},
        examples=["60"],
    )  # fmt: skip
    kwh_per_day: float | None = Field(
        None, ge=0, description="most energy in a day, as estimated; a run is stopped there and waits",
        json_schema_extra={"unit": "kWh"}, examples=["4"],
    )  # fmt: skip
    kwh_per_month: float | None = Field(
        None, ge=0, description="most energy in a month, as estimated", json_schema_extra={"unit": "kWh"},
        examples=["40"],
    )  # fmt: skip

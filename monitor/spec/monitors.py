"""What is monitored: windows, the false-alarm budget, drift, KPIs and fairness."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from monitor.spec.base import SpecPart
from monitor.spec.duration import Duration, duration


def _change_text(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?( ?std)?", text.strip()):
        raise ValueError(f"{text!r} is not a change; write standard deviations such as `0.05 std`, or a share")
    return text


class RowWindow(SpecPart):
    rows: int = Field(ge=100, description="rows in each tumbling window")


class AlphaBudget(SpecPart):
    alpha: float = Field(gt=0, lt=1, description="chance of a false alarm in one window, all columns together")


Change = Annotated[str, AfterValidator(_change_text)]


class Drift(SpecPart):
    columns: Literal["all"] | tuple[str, ...] = "all"
    rule: Literal["blocks", "row_tests", "thresholds"] = Field(
        "blocks", description="row_tests certifies that rows are independent; thresholds follows a house rule"
    )
    thresholds: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="for rule thresholds: limit by statistic, such as {psi: 0.2}"
    )
    floors: Mapping[str, Change] = Field(
        default_factory=dict, description="smallest change that matters: `0.05 std` or a share"
    )
    must_see: Mapping[str, Change] = Field(
        default_factory=dict, description="change that must not be missed, in the same units; else not_enough_data"
    )
    short_reference: bool = Field(
        False, description="accept a reference of 4 windows where 8 are asked for, and the false alarms that may cost"
    )

    @model_validator(mode="after")
    def _rule(self) -> "Drift":
        if (self.rule == "thresholds") != bool(self.thresholds):
            raise ValueError("thresholds and rule: thresholds go together; give both or neither")
        return self


class KpiRule(SpecPart):
    metric: str = Field(min_length=1, max_length=64)
    column: str | None = Field(None, description="for a KPI of one column, such as latency: which")
    expression: str | None = Field(None, description="for a KPI of your own: what it is, over columns")
    unit: str | None = Field(None, max_length=32, description="of a KPI with an expression, for display")
    min: float | None = None
    max: float | None = None


class FairnessRule(SpecPart):
    metric: str
    by: tuple[str, ...] = Field(min_length=1)
    max: float | None = None
    min: float | None = None
    min_group: int = Field(30, ge=1, description="groups with fewer rows are reported as too small")


class Monitors(SpecPart):
    windows: tuple[Duration, ...] | RowWindow = ("1d", "7d")
    false_alarms: str | AlphaBudget = "1 per 30d"
    phases: Literal["weekday_weekend", "day_of_week", "hour_of_day"] | None = Field(
        None, description="a season of the traffic: windows are compared with the reference phase by phase"
    )
    drift: Drift = Drift()
    estimate: bool = True
    kpi: tuple[KpiRule, ...] = ()
    fairness: tuple[FairnessRule, ...] = ()

    @field_validator("false_alarms")
    @classmethod
    def _budget(cls, value: str | AlphaBudget) -> str | AlphaBudget:
        if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)? per \d+[hd]", value):
            raise ValueError(f"false_alarms is {value!r}; write `1 per 30d` or {{alpha: 0.01}}")
        return value

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the kinds of window that are judged: their spans, or `500 rows`."""
        return (f"{self.windows.rows} rows",) if isinstance(self.windows, RowWindow) else self.windows

    def alpha(self, scale: str) -> float:
        """False-alarm probability one window of a scale may spend.

        A budget of A alarms per period is shared equally by the scales, and among the windows of one scale that end
        in the period: alpha = A / scales / windows. Expected false alarms = windows x alpha, whatever depends on what.
        """
        if isinstance(self.false_alarms, AlphaBudget):
            return self.false_alarms.alpha
        if isinstance(self.windows, RowWindow):
            raise ValueError("a budget per time needs time windows; with {rows: N} give false_alarms: {alpha: ...}")
        alarms, period = self.false_alarms.split(" per ")
        return float(min(0.5, float(alarms) / len(self.windows) * (duration(scale) / duration(period))))

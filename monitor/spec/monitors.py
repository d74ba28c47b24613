"""What is monitored: windows, the false-alarm budget, drift, KPIs and fairness metrics."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from monitor.spec.base import SpecPart
from monitor.spec.duration import Duration, duration


def _change_text(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?( ?std)?", text.strip()):
        raise ValueError(
            f"{text!r} is not a change; write standard deviations such as `0.05 std`, or a share of rows such as `0.02`"
        )
    return text


class RowWindow(SpecPart):
    """Windows of a fixed number of rows, in place of time windows."""

    rows: int = Field(ge=100, description="rows in each tumbling window")


class AlphaBudget(SpecPart):
    """A false-alarm budget per window, in place of one per period."""

    alpha: float = Field(gt=0, lt=1, description="probability of a false alarm in one window, all monitors together")


Change = Annotated[str, AfterValidator(_change_text)]


class Drift(SpecPart):
    """Which columns are watched for drift, by which rule, and how large a change must be to matter."""

    columns: Literal["all"] | tuple[str, ...] = "all"
    rule: Literal["blocks", "row_tests", "thresholds"] = Field(
        "blocks", description="row_tests assumes that rows are independent; thresholds applies fixed limits"
    )
    thresholds: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="for rule thresholds: the limit of each statistic, such as {psi: 0.2}"
    )
    floors: Mapping[str, Change] = Field(
        default_factory=dict, description="by column: the smallest change that may alarm, `0.05 std` or a share of rows"
    )
    must_see: Mapping[str, Change] = Field(
        default_factory=dict,
        description="by column: a change that must not be missed, in the same units; a window with too few rows to "
        "detect it is not_enough_data",
    )
    short_reference: bool = Field(
        False, description="accept a reference of 4 windows instead of 8, at the cost of more false alarms"
    )

    @model_validator(mode="after")
    def _rule(self) -> "Drift":
        if (self.rule == "thresholds") != bool(self.thresholds):
            raise ValueError(
                f"rule is {self.rule}; `thresholds` and `rule: thresholds` go together, give both or neither"
            )
        return self


class KpiRule(SpecPart):
    """One KPI, from the catalogue or with an expression, and its limits."""

    metric: str = Field(min_length=1, max_length=64)
    column: str | None = Field(None, description="for a KPI of one column, such as latency: the column")
    expression: str | None = Field(None, description="for a KPI of your own: its value as an expression over columns")
    unit: str | None = Field(None, max_length=32, description="for a KPI with an expression: its unit, for display")
    min: float | None = None
    max: float | None = None


class FairnessRule(SpecPart):
    """One fairness metric, the protected columns that form its groups, and its limits."""

    metric: str
    by: tuple[str, ...] = Field(min_length=1)
    max: float | None = None
    min: float | None = None
    min_group: int = Field(30, ge=1, description="groups with fewer rows are reported as too small")


class Monitors(SpecPart):
    """What is computed for every window, and how often it may raise a false alarm."""

    windows: tuple[Duration, ...] | RowWindow = ("1d", "7d")
    false_alarms: str | AlphaBudget = "1 per 30d"
    phases: Literal["weekday_weekend", "day_of_week", "hour_of_day"] | None = Field(
        None, description="seasonality of the traffic: windows are compared with the reference within each phase"
    )
    drift: Drift = Drift()
    estimate: bool = True
    kpi: tuple[KpiRule, ...] = ()
    fairness: tuple[FairnessRule, ...] = ()

    @field_validator("false_alarms")
    @classmethod
    def _budget(cls, value: str | AlphaBudget) -> str | AlphaBudget:
        if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)? per \d+[hd]", value):
            raise ValueError(
                f"false_alarms is {value!r}; write alarms per period such as `1 per 30d`, or {{alpha: 0.01}}"
            )
        return value

    @property
    def scales(self) -> tuple[str, ...]:
        """The lengths of the windows that are judged: durations such as `7d`, or `500 rows`."""
        return (f"{self.windows.rows} rows",) if isinstance(self.windows, RowWindow) else self.windows

    def alpha(self, scale: str) -> float:
        """The false-alarm probability that one window of a length may spend, at most 0.5 for a budget per period.

        A budget of A alarms per period is shared equally by the window lengths, and then by the windows of one length
        that end in the period: alpha = A / lengths / windows. The expected number of false alarms is windows x alpha,
        whether or not windows are independent.

        Raises:
            ValueError: a budget per period with row windows.
        """
        if isinstance(self.false_alarms, AlphaBudget):
            return self.false_alarms.alpha
        if isinstance(self.windows, RowWindow):
            raise ValueError(
                f"monitors.false_alarms is {self.false_alarms!r}, a budget per period, which needs time windows; with "
                "windows {rows: N} give false_alarms: {alpha: 0.01}"
            )
        alarms, period = self.false_alarms.split(" per ")
        return float(min(0.5, float(alarms) / len(self.windows) * (duration(scale) / duration(period))))

"""What starts a retrain, and the hours in which one may start."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from core.settings import DAYS, days_of, hours_of
from core.zones import OF_NO_PLACE, next_open, zone_of
from monitor.spec.base import SpecPart, Written, is_new
from monitor.spec.cron import read_cron
from monitor.spec.duration import Duration

UTC: Final = "UTC"


def _zone(value: str, info: ValidationInfo) -> str:
    if is_new(info):
        if value in OF_NO_PLACE:
            raise ValueError(f"{value!r} is another zone on each machine; write a place such as Europe/Zurich, or UTC")
        zone_of(value)
    return value


TimeZone = Annotated[str, AfterValidator(_zone), Written("time zone", "Europe/Berlin")]


class NewOutcomes(SpecPart):
    """Retrain after this many outcomes since the last training set."""

    new_outcomes: int = Field(
        ge=1, description="outcomes since the last training set that start a run", examples=[5000],
        json_schema_extra={"unit": "outcomes"},
    )  # fmt: skip


class Cron(SpecPart):
    """Retrain on a schedule of five crontab fields."""

    cron: str = Field(
        description="five crontab fields: numbers, names such as `jan` or `sun`, ranges, lists and steps",
        examples=["0 3 * * 0"],
    )
    timezone: TimeZone = Field(
        UTC, exclude_if=lambda value: value == UTC,  # a spec without it keeps its digest
        description="time zone of the fields. Where clocks go back, a fixed time comes once; one that they skip when "
        "they go forward comes at the first minute after the gap",
        examples=["Europe/Berlin"],
    )  # fmt: skip

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        if is_new(info):
            read_cron(value)
        return value

    @property
    def words(self) -> str:
        """The schedule as people read it, and the key under which its last tick is kept."""
        return f"`{self.cron}` {self.timezone}"


class KpiBreach(SpecPart):
    """Retrain when a KPI is beyond its limit, by its whole interval."""

    kpi: Literal["realised", "estimated"] = Field(
        description="which of its values counts: the one that outcomes give, or the one estimated before they arrive; "
        "`kpi` alone means either"
    )


class NewRows(SpecPart):
    """How many rows of new classes or topics start a run, and within which time.

    A class is new if the champion does not know it. A topic is new if the newest window of a length up to `per` alarmed
    because a text moved away from the reference. The run concentrates on these rows.
    """

    per: Duration = Field("7d", description="the time before now whose rows are looked at")
    rows: int = Field(
        20, ge=5, description="fewest rows of new classes that start a run", json_schema_extra={"unit": "rows"}
    )
    alpha: float = Field(
        0.001, gt=0, lt=1,
        description="share of all `per` in which chance alone may start a run, however often is looked, if unknown "
        "classes come at the rate that the champion's own time had",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip


class NewClasses(SpecPart):
    """Retrain on new classes or topics, once there are more rows of them than chance would give."""

    new_classes: NewRows = Field(description="how many rows count as new classes, and within which time")


class AllowedHours(SpecPart):
    """The hours in which a run may start; outside them it is put off until they begin."""

    hours: str = Field(description="times of day, over midnight too", examples=["22:00-06:00"])
    days: str | None = Field(
        None, description="the days on which these hours begin; without them, every day", examples=["mon-fri"]
    )
    timezone: TimeZone = Field(UTC, description="time zone of hours and days", examples=["Europe/Berlin"])

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        if hours_of(value) is None:
            raise ValueError(f"{value[:60]!r} are no hours; write two different times of day, such as `22:00-06:00`")
        return value

    @field_validator("days")
    @classmethod
    def _days(cls, value: str | None) -> str | None:
        if value is not None and days_of(value) is None:
            raise ValueError(
                f"{value[:60]!r} are no days; write one day or two with a hyphen, such as `mon-fri`; days are "
                f"{', '.join(DAYS)}"
            )
        return value

    @property
    def words(self) -> str:
        return " ".join(part for part in (self.hours, self.days, self.timezone) if part)

    def opens_at(self, at: datetime) -> datetime:
        """The first time from `at` on at which a run may start."""
        days = None if self.days is None else days_of(self.days)
        return next_open(hours_of(self.hours), days, zone_of(self.timezone), at)


Trigger = Literal["drift", "kpi", "fairness", "whole"] | KpiBreach | NewOutcomes | NewClasses | Cron

"""Points in time that a spec names, and the times of events that it accepts."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from monitor.spec.base import SpecPart, Written, is_new
from monitor.spec.duration import Duration

# Between them every zone has a calendar, and times can be counted in nanoseconds from 1970 at one end.
FIRST_TIME: Final = datetime(1700, 1, 1, tzinfo=UTC)
LAST_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)
_EXAMPLE: Final = "2026-01-01T00:00:00Z"


def _no_number(value: Any, info: ValidationInfo) -> Any:
    if is_new(info) and isinstance(value, bool | int | float):
        raise ValueError(f"is {str(value)[:60]}, a number; write a time with its zone, such as `{_EXAMPLE}`")
    return value


def _in_calendar(value: datetime, info: ValidationInfo) -> datetime:
    if value.tzinfo is None:
        if is_new(info):
            raise ValueError(f"is {value.isoformat()}, without a zone; write it as `{value.isoformat()}Z` for UTC")
        return value.replace(tzinfo=UTC)
    try:
        at = value.astimezone(UTC)
    except OverflowError:
        at = None
    if is_new(info) and (at is None or not FIRST_TIME <= at < LAST_TIME):
        raise ValueError(f"is {value.isoformat()}; give a time from {FIRST_TIME:%Y} to {LAST_TIME.year - 1}")
    return value


Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_calendar), Written("time", _EXAMPLE)]


class EventTimes(SpecPart):
    """Times of events that are accepted; a row outside is rejected."""

    earliest: Moment | None = Field(
        None,
        description="rows from before this time are rejected. Without it, rows that are more than 20 years old, or 20 "
        "years older than the newest row of a history that is uploaded or replayed",
        examples=["1950-01-01T00:00:00Z"],
    )
    ahead: Duration = Field("1d", description="rows whose time is further ahead of the clock than this are rejected")

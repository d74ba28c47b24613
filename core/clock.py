"""The clock, as an interface: replay drives it by event time, tests set it; and periods of time that people give."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Protocol

from core.errors import InvalidError

_DATE: Final = re.compile(r"[0-9]{4}-?(?:[0-9]{2}-?[0-9]{2}|W[0-9]{2}(?:-?[0-9])?)(?![0-9])", re.ASCII)


class Clock(Protocol):
    def now(self) -> datetime:
        """Current time, zone UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told to, and never backwards."""

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at

    def move_to(self, at: datetime) -> None:
        self._at = max(self._at, at.astimezone(UTC))


def written_time(text: str) -> datetime:
    """A time in one of the forms of ISO 8601.

    Raises:
        ValueError: it is none. `datetime.fromisoformat` takes any character between date and time, also the first digit
            of the hour, and reads 20260101123456Z as a quarter to midnight.
    """
    if not _DATE.match(text):
        raise ValueError(f"{text[:60]!r} is no time; write one such as 2026-01-31T08:00:00Z")
    return datetime.fromisoformat(text)


def day_or_time(field: str, text: str, zone: tzinfo, *, last: bool) -> datetime:
    """The time that somebody wrote, in UTC: of a day its beginning, or its end if it is the last day of a period.

    Raises:
        InvalidError: it is neither a day nor a time with a zone, or lies outside the calendar of UTC.
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            day = date.fromisoformat(text)
            return datetime.combine(day + timedelta(days=1) if last else day, time(), zone).astimezone(UTC)
        at = written_time(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except OverflowError as error:
        raise beyond_the_calendar(field, text) from error
    except ValueError:
        pass
    raise InvalidError(
        f"{field}: {text[:60]!r} is neither a day such as 2026-07-01 nor a time with its zone such as "
        "2026-07-01T12:00:00Z",
        field=field, value=text[:200],
    )  # fmt: skip


def beyond_the_calendar(field: str, text: str) -> InvalidError:
    return InvalidError(
        f"{field}: {text!r} lies at an end of the calendar, beyond which UTC has no time; give one from 1700 to 9998",
        field=field, value=text,
    )  # fmt: skip


def check_period(begin: datetime | None, end: datetime | None) -> None:
    """Refuse a period from `from` up to, but not including, `to` that holds no time.

    Raises:
        InvalidError: the two are the same time, or in the wrong order.
    """
    if begin is None or end is None or begin < end:
        return
    if begin == end:
        raise InvalidError(
            f"from and to are the same time, {begin.isoformat()}, so nothing lies between them; give a later to",
            field="to", value=end.isoformat(),
        )  # fmt: skip
    raise InvalidError(
        f"from {begin.isoformat()} is after to {end.isoformat()}; swap them", field="from", value=begin.isoformat()
    )


def days_period(first: date, last: date) -> tuple[datetime, datetime]:
    """The period of whole days in UTC, the last one inside.

    Raises:
        InvalidError: the last day lies before the first, or outside the calendar.
    """
    if last < first:
        raise InvalidError(f"from {first} is after to {last}; swap them", field="from", value=str(first))
    if last == date.max:
        raise InvalidError(f"to is {last}, the last day there is; give an earlier one", field="to", value=str(last))
    return datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + timedelta(days=1)


def from_now(now: datetime, by: timedelta) -> datetime:
    """The time after a while.

    Raises:
        InvalidError: it lies outside the calendar.
    """
    try:
        return now + by
    except OverflowError:
        raise InvalidError(f"{by.days} days from now lie outside the calendar; give less", field="for") from None

"""Periods by their names: quarters, months and years in a time zone, the period before one, and what one is called."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from core.clock import beyond_the_calendar, day_or_time
from core.errors import InvalidError
from core.zones import zone_of

DEFAULT_DAYS: Final = 30
LAST: Final = ("last-month", "last-quarter", "last-year")  # of the calendar, and over
THIS: Final = ("this-month", "this-quarter", "this-year")  # up to now
NAMES: Final = (*LAST, *THIS)
FORMS: Final = f"a quarter such as 2026-Q3, a month such as 2026-09, a year such as 2026, or {', '.join(NAMES)}"
_QUARTER: Final = re.compile(r"([0-9]{4})-?[Qq]([1-4])")
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_YEAR: Final = re.compile(r"[0-9]{4}")
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}  # how many a unit of the calendar has


@dataclass(frozen=True, slots=True)
class AskedPeriod:
    """A half-open interval in UTC, and the name of the time zone in which its days begin."""

    start: datetime
    end: datetime
    zone: str = "UTC"

    @property
    def name(self) -> str:
        return period_name(self.start, self.end, self.zone)


def known_zone(name: str, field: str = "zone") -> ZoneInfo:
    """The zone of a name in the IANA database.

    Raises:
        InvalidError: there is none of this name.
    """
    try:
        return zone_of(name)
    except ValueError as error:
        raise InvalidError(
            f"{field}: {name[:60]!r} is not a time zone; write its name, such as UTC or Europe/Berlin ({error})",
            field=field, value=name[:200],
        ) from error  # fmt: skip


def asked_period(
    now: datetime, *, start: str | None = None, end: str | None = None, name: str | None = None, zone: str = "UTC"
) -> AskedPeriod:
    """The period that a request asks for: by its name, or from a first to a last day or time.

    Args:
        start: first day, which begins in the zone, or a time with its own zone.
        end: last day, which is inside, or the time at which the period ends; without it, now.
        name: a quarter, a month, a year, or one of `NAMES`. Without it and without a start, the last 30 days.

    Raises:
        InvalidError: the zone is unknown, the name and the days exclude each other, or the period lies ahead. That it
            holds time is checked where a report is asked for.
    """
    where = known_zone(zone)
    start, end, name = (text.strip() or None if text is not None else None for text in (start, end, name))
    if name is not None:
        if start is not None or end is not None:
            raise InvalidError(
                f"period: {name[:60]} is given beside from and to; give one of them", field="period", value=name[:200]
            )
        return AskedPeriod(*named_period(name, now, where), zone)
    until = day_or_time("to", end, where, last=True) if end is not None else now
    if start is not None:
        since = day_or_time("from", start, where, last=False)
    elif end is not None:
        raise InvalidError(f"from: to {end[:60]} is given without from; give both", field="from")
    else:
        since = until - timedelta(days=DEFAULT_DAYS)
    if until > since >= now:
        raise InvalidError(f"from: {start or since.isoformat()} lies ahead; give a period that has begun",
                           field="from", value=start)  # fmt: skip
    return AskedPeriod(since, until, zone)


def named_period(text: str, now: datetime, zone: ZoneInfo, *, field: str = "period") -> tuple[datetime, datetime]:
    """The period of a name, in UTC and half-open. What lies ahead of `now` is cut off.

    Args:
        text: in one of `FORMS`.
        zone: in which days begin.

    Raises:
        InvalidError: no period has this name, or it has not begun.
    """
    first, months = _first_day(text.strip(), now.astimezone(zone), field)
    try:
        begin = _midnight(first, zone)
        if begin >= now:
            raise InvalidError(f"{field}: {text[:60]} has not begun", field=field, value=text[:200])
        after = _months_later(first, months)
        return (begin, now) if after is None else (begin, min(_midnight(after, zone), now))
    except OverflowError as error:
        raise beyond_the_calendar(field, text) from error


def _first_day(text: str, local: datetime, field: str) -> tuple[date, int]:
    """First day of the period of a name, and how many months it has."""
    if text in NAMES:
        which, _, unit = text.partition("-")
        months = _MONTHS[unit]
        first = date(local.year, 1 + (local.month - 1) // months * months, 1)
        found = first if which == "this" else _months_later(first, -months)
    elif (quarter := _QUARTER.fullmatch(text)) and int(quarter[1]) > 0:
        found, months = date(int(quarter[1]), 3 * int(quarter[2]) - 2, 1), 3
    elif (month := _MONTH.fullmatch(text)) and int(month[1]) > 0:
        found, months = date(int(month[1]), int(month[2]), 1), 1
    elif _YEAR.fullmatch(text) and int(text) > 0:
        found, months = date(int(text), 1, 1), 12
    else:
        found = None
    if found is None:
        raise InvalidError(f"{field}: {text[:60]!r} is no period; write {FORMS}", field=field, value=text[:200])
    return found, months


def _months_later(day: date, months: int) -> date | None:
    """The first day of a month some months later; None beyond the calendar."""
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    return date(year, month + 1, 1) if 1 <= year <= 9999 else None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins, in UTC: where clocks skip midnight, at the first moment after the gap."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def period_before(start: datetime, end: datetime, zone: str) -> tuple[datetime, datetime]:
    """The period before: the quarter, month or year before, as many days before, or the same length before."""
    where = known_zone(zone)
    days = _days(start, end, where)
    if days is None:
        return start - (end - start), start
    first, after = days
    for months in _MONTHS.values():
        if _is_unit(first, months) and _months_later(first, months) == after:
            before = _months_later(first, -months)
            break
    else:
        before = first - (after - first)
    return (_midnight(before, where), start) if before is not None else (start - (end - start), start)


def period_name(start: datetime, end: datetime, zone: str) -> str:
    """What a period is called: `2026-Q3`, `2026-09`, `2026`, `2026-09-03`, `2026-09-03-to-2026-09-20`, or its times.

    Letters, digits, `-` alone, so that it may stand in the name of a file.
    """
    days = _days(start, end, known_zone(zone))
    if days is None:
        return f"{start:%Y%m%dT%H%M%SZ}-to-{end:%Y%m%dT%H%M%SZ}"
    first, after = days
    if _is_unit(first, 12) and _months_later(first, 12) == after:
        return f"{first.year:04}"
    if _is_unit(first, 3) and _months_later(first, 3) == after:
        return f"{first.year:04}-Q{(first.month + 2) // 3}"
    if _is_unit(first, 1) and _months_later(first, 1) == after:
        return f"{first.year:04}-{first.month:02}"
    last = after - timedelta(days=1)
    return first.isoformat() if first == last else f"{first.isoformat()}-to-{last.isoformat()}"


def period_words(start: datetime, end: datetime, zone: str) -> str:
    """A period for people, in its time zone: `2026-07-01 to 2026-09-30, Europe/Berlin`, or its times."""
    where = known_zone(zone)
    days = _days(start, end, where)
    if days is None:
        first, last = (f"{at.astimezone(where):%Y-%m-%d %H:%M}" for at in (start, end))
    else:
        first, last = days[0].isoformat(), (days[1] - timedelta(days=1)).isoformat()
    return f"{first}, {zone}" if first == last else f"{first} to {last}, {zone}"


def _is_unit(first: date, months: int) -> bool:
    return first.day == 1 and (first.month - 1) % months == 0


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[date, date] | None:
    """First day and the day after the last, of a period of whole days in a zone; None for another one."""
    try:
        first, after = start.astimezone(zone).date(), end.astimezone(zone).date()
        whole = _midnight(first, zone) == start and _midnight(after, zone) == end
    except OverflowError:
        return None
    return (first, after) if whole and first < after else None

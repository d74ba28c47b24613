"""The period that a command is about: the last days, two dates, or a quarter, in one time zone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from core.clock import beyond_the_calendar, day_or_time
from core.errors import InvalidError

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 36_525  # a hundred years
Start = Annotated[
    str | None, typer.Option("--from", help="first day of the period, such as 2026-07-01, or a time with its zone")
]
End = Annotated[
    str | None, typer.Option("--to", help="last day of the period, or the time at which it ends; without it, now")
]
Quarter = Annotated[str | None, typer.Option(help="a quarter such as 2026Q3, or `last`")]
Days = Annotated[int | None, typer.Option(min=1, help="length of a period that ends now")]
Zone = Annotated[str, typer.Option(help="time zone in which days and quarters begin")]
_QUARTER: Final = re.compile(r"(\d{4})-?[Qq]([1-4])")


def period(
    now: datetime,
    *,
    start: str | None = None,
    end: str | None = None,
    quarter: str | None = None,
    days: int | None = None,
    zone: str = "UTC",
) -> tuple[datetime, datetime]:
    """The period that the options of a command name, as a half-open interval in UTC.

    Args:
        now: the time at which it is asked.
        start: first day, or a time with a zone.
        end: last day, which is inside, or a time with a zone, at which the period ends; without it, now.
        quarter: `2026Q3`, or `last` for the last one that is over. What lies ahead of `now` is cut off.
        days: length of a period that ends now.
        zone: name of the time zone in which days and quarters begin.

    Raises:
        InvalidError: options that exclude each other, something that is no date, an empty or future period.
    """
    given = [name for name, value in (("--from", start), ("--quarter", quarter), ("--days", days)) if value is not None]
    if len(given) > 1:
        raise InvalidError(f"{given[1].strip('-')}: {' and '.join(given)} exclude each other; give one of them",
                           field=given[1].strip("-"))  # fmt: skip
    where = _zone(zone)
    if quarter is not None:
        if end is not None:
            raise InvalidError("to: --quarter and --to exclude each other; give one of them", field="to", value=end)
        return _quarter(quarter, now, where)
    if start is None and end is not None:
        raise InvalidError(f"from: --to {end} is given without --from; give both", field="from")
    if start is None:
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise InvalidError(
                f"days: {days} is no length of a period; give 1 to {MAX_DAYS:,}", field="days", value=days
            )
        return now - timedelta(days=days or DEFAULT_DAYS), now
    begin = day_or_time("from", start, where, last=False)
    until = day_or_time("to", end, where, last=True) if end is not None else now
    if begin == until and start == end:
        raise InvalidError(
            f"to: --from and --to are the same time, {begin.isoformat()}; give a later --to", field="to", value=end
        )
    if begin >= until:
        raise InvalidError(
            f"from: {start} is not before --to {end or 'now'}; swap or correct them", field="from", value=start
        )
    if begin >= now:
        raise InvalidError(f"from: {start} lies ahead; give a period that has begun", field="from", value=start)
    return begin, until


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidError(
            f"zone: {name!r} is not a time zone; write its name, such as UTC or Europe/Berlin", field="zone", value=name
        ) from error


def _quarter(text: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    local = now.astimezone(zone)
    if text.lower() == "last":
        year, number = (local.year, (local.month - 1) // 3) if local.month > 3 else (local.year - 1, 4)
    elif (found := _QUARTER.fullmatch(text)) and int(found[1]) > 0:
        year, number = int(found[1]), int(found[2])
    else:
        raise InvalidError(f"quarter: {text!r} is not a quarter; write 2026Q3, or last", field="quarter", value=text)
    try:
        begin = datetime(year, 3 * number - 2, 1, tzinfo=zone).astimezone(UTC)
    except OverflowError as error:
        raise beyond_the_calendar("quarter", text) from error
    if begin >= now:
        raise InvalidError(f"quarter: {text} has not begun", field="quarter", value=text)
    if (year, number) == (9999, 4):
        return begin, now
    end = datetime(year + number // 4, 3 * (number % 4) + 1, 1, tzinfo=zone).astimezone(UTC)
    return begin, min(end, now)

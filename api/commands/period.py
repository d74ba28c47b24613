"""The period that a command is about: the last days, two dates, a quarter or a month, in one time zone."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from core.clock import day_or_time
from core.errors import InvalidError
from reports.periods import DEFAULT_DAYS, known_zone, named_period

MAX_DAYS: Final = 36_525  # a hundred years
Start = Annotated[
    str | None, typer.Option("--from", help="first day of the period, such as 2026-07-01, or a time with its zone")
]
End = Annotated[
    str | None, typer.Option("--to", help="last day of the period, or the time at which it ends; without it, now")
]
Quarter = Annotated[str | None, typer.Option(help="a quarter such as 2026Q3, or `last`")]
Month = Annotated[str | None, typer.Option(help="a month such as 2026-09, or `last`")]
Days = Annotated[int | None, typer.Option(min=1, help="length of a period that ends now")]
Zone = Annotated[str, typer.Option(help="time zone in which days and quarters begin")]
_FORMS: Final = {
    "quarter": (re.compile(r"[0-9]{4}-?[Qq][1-4]"), "2026Q3"), "month": (re.compile(r"[0-9]{4}-[0-9]{2}"), "2026-09"),
}  # fmt: skip


def period(
    now: datetime,
    *,
    start: str | None = None,
    end: str | None = None,
    quarter: str | None = None,
    month: str | None = None,
    days: int | None = None,
    zone: str = "UTC",
) -> tuple[datetime, datetime]:
    """The period that the options of a command name, as a half-open interval in UTC.

    Args:
        now: the time at which it is asked.
        start: first day, or a time with a zone.
        end: last day, which is inside, or a time with a zone, at which the period ends; without it, now.
        quarter: `2026Q3`, or `last` for the last one that is over. What lies ahead of `now` is cut off.
        month: `2026-09`, or `last`.
        days: length of a period that ends now.
        zone: name of the time zone in which days and quarters begin.

    Raises:
        InvalidError: options that exclude each other, something that is no date, an empty or future period.
    """
    options = (("--from", start), ("--quarter", quarter), ("--month", month), ("--days", days))
    given = [name for name, value in options if value is not None]
    if len(given) > 1:
        raise InvalidError(f"{given[1].strip('-')}: {' and '.join(given)} exclude each other; give one of them",
                           field=given[1].strip("-"))  # fmt: skip
    named = _named(quarter, month)
    where = known_zone(zone)
    if named is not None:
        if end is not None:
            raise InvalidError(f"to: --{named[0]} and --to exclude each other; give one of them", field="to", value=end)
        return named_period(named[1], now, where, field=named[0])
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


def _named(quarter: str | None, month: str | None) -> tuple[str, str] | None:
    """The option that names a period, and the name as `reports.periods` knows it.

    Raises:
        InvalidError: the value is no quarter or month.
    """
    unit, text = ("quarter", quarter) if quarter is not None else ("month", month)
    if text is None:
        return None
    if text.lower() in ("last", f"last-{unit}"):
        return unit, f"last-{unit}"
    form, example = _FORMS[unit]
    if not form.fullmatch(text):
        raise InvalidError(
            f"{unit}: {text[:60]!r} is not a {unit}; write {example}, or last", field=unit, value=text[:200]
        )
    return unit, text

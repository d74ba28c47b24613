"""The period that the address of a page or route asks for: days or times, and none of them needed."""

from datetime import UTC, datetime, timedelta
from typing import Final

from core.clock import check_period, day_or_time
from core.errors import InvalidError

DEFAULT_DAYS: Final = 92  # a quarter has at most as many


def asked_period(begin: str | None, end: str | None, now: datetime) -> tuple[datetime, datetime]:
    """The period in UTC, half-open; of a day given as its end, the end of that day.

    Args:
        begin, end: a day such as 2026-07-01 or a time with its zone; None or empty: the last 92 days, up to `now`.

    Raises:
        InvalidError: one of them is no time, or no time lies between them.
    """
    until = day_or_time("to", end.strip(), UTC, last=True) if end and end.strip() else now
    if begin and begin.strip():
        since = day_or_time("from", begin.strip(), UTC, last=False)
    else:
        try:
            since = until - timedelta(days=DEFAULT_DAYS)
        except OverflowError:
            raise InvalidError("to: lies at the beginning of the calendar; give a later one", field="to", value=end) \
                from None  # fmt: skip
    if begin and end and since >= until and len(end.strip()) == len("2026-07-01"):  # told with the day that was given
        raise InvalidError(f"from {begin.strip()} is after to {end.strip()}; swap them", field="from", value=begin)
    check_period(since, until)
    return since, until

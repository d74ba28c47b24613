"""Which times of events are plausible, and the unit that a sender probably confused where one is not.

A row of 1970 among today's is nearly always a number in the wrong unit: seconds that were read as milliseconds. Stored,
it would make the history of its model span half a century.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from monitor.spec.duration import duration
from monitor.spec.event_times import FIRST_TIME, LAST_TIME, EventTimes

if TYPE_CHECKING:
    import polars as pl

    from core.arrays import Flags, Ints

DAY_AHEAD: Final = timedelta(days=1)
MAX_AGE: Final = timedelta(days=7305)  # 20 years
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,9})?", re.ASCII)
FIRST_COUNTED: Final = datetime(1980, 1, 1, tzinfo=UTC)  # times of before are hardly counted from 1970
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400_000_000  # microseconds
UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of each, in a second
_UNIT_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_SCALES: Final = (10**3, 10**6, 10**9)
# What was probably sent, by the unit in which it was read ("" where a text does not say) and the factor that it lacks.
_CONFUSED: Final = {
    ("", 10**3): "seconds sent as milliseconds", ("", 10**6): "milliseconds sent as nanoseconds",
    ("", 10**9): "seconds sent as nanoseconds",
    ("ms", 10**3): "seconds sent as milliseconds",
    ("us", 10**3): "seconds sent as milliseconds, or milliseconds as microseconds",
    ("us", 10**6): "seconds sent as microseconds", ("ns", 10**3): "microseconds sent as nanoseconds",
    ("ns", 10**6): "milliseconds sent as nanoseconds", ("ns", 10**9): "seconds sent as nanoseconds",
}  # fmt: skip
_TOO_LARGE: Final = {
    ("s", 10**3): "milliseconds sent as seconds", ("s", 10**6): "microseconds sent as seconds",
    ("s", 10**9): "nanoseconds sent as seconds", ("ms", 10**3): "microseconds sent as milliseconds",
    ("ms", 10**6): "nanoseconds sent as milliseconds", ("us", 10**3): "nanoseconds sent as microseconds",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The times that are accepted, both ends included.

    Attributes:
        usual: the earliest time that is accepted where the spec says nothing; units are guessed from it.
        wrong: what is said of an earlier time (true) or a later one; words are made only where they are needed.
    """

    earliest: datetime
    latest: datetime
    usual: datetime
    wrong: Callable[[bool], str]

    def holds(self, micros: int) -> bool:
        return to_micros(self.earliest) <= micros <= to_micros(self.latest)

    def is_usual(self, micros: int) -> bool:
        return to_micros(self.usual) <= micros <= to_micros(self.latest)

    def reason(self, shown: str, micros: int, unit: str = "") -> str:
        """Why a time outside is rejected, with the unit that was probably confused.

        Args:
            shown: the time as a reason quotes it.
            micros: the time, in microseconds since 1970, of any size.
            unit: in which the sender counted: `s`, `ms`, `us` or `ns`; empty for a text.
        """
        early = micros < to_micros(self.earliest)
        which = self.wrong(early)
        if (unit_mistaken := self._unit(micros, unit)) is not None:
            return f"{shown} is {which}: it looks like {unit_mistaken}"
        fix = "if it is right, declare `times: {earliest: ...}` in the spec; else check" if early else "check"
        return f"{shown} is {which}; {fix} the unit and the clock"

    def written(self, value: Any) -> str | None:
        """How to write the time that a number, or the text of one, probably counts; None where it counts none."""
        digits = str(value)
        if isinstance(value, bool) or not _NUMBER.fullmatch(digits):
            return None
        for unit, per_second in UNITS.items():
            micros = int(Decimal(digits) * 10**6 / per_second)
            if self.is_usual(micros):
                at = _EPOCH + timedelta(microseconds=micros)
                text = at.isoformat(timespec="auto").replace("+00:00", "Z")
                return f"it looks like {_UNIT_NAMES[unit]} since 1970: write `{text}`"
        return None

    def _unit(self, micros: int, unit: str) -> str | None:
        for factor in _SCALES:
            if self.is_usual(micros * factor):
                words = _CONFUSED.get((unit, factor)) or _CONFUSED["", factor]
                return f"{words}; multiply by {factor}"
            if self.is_usual(micros // factor) and (unit, factor) in _TOO_LARGE:
                return f"{_TOO_LARGE[unit, factor]}; divide by {factor}"
        return None


def time_span(declared: EventTimes | None, now: datetime, newest: datetime | None = None) -> TimeSpan:
    """The times that are accepted now.

    Args:
        declared: the spec's own limits.
        newest: the newest time of the history that is being sent; None for rows that are sent as they happen.
    """
    latest = min(_later(now, DAY_AHEAD if declared is None else duration(declared.ahead)), LAST_TIME)
    since = now if newest is None else min(newest, now)
    usual = max(_earlier(since, MAX_AGE), FIRST_TIME)
    if now >= LAST_TIME:  # a file is read whose times drive the clock: it may lie at any time that has a calendar
        usual = FIRST_COUNTED
    earliest = usual if declared is None or declared.earliest is None else declared.earliest

    def wrong(early: bool) -> str:
        if not early and now >= LAST_TIME:
            return f"after the year {LAST_TIME.year - 1}"
        if not early:
            ahead = "a day" if declared is None or declared.ahead == "1d" else declared.ahead
            return f"more than {ahead} ahead of now ({now:%Y-%m-%d %H:%M} UTC)"
        if declared is not None and declared.earliest is not None:
            return f"before {earliest.isoformat()}, the earliest time that the spec allows"
        if since < now:
            return f"more than 20 years before {since:%Y-%m-%d}, the newest time of its history"
        return f"more than 20 years before now ({now:%Y-%m-%d})"

    return TimeSpan(earliest, latest, usual, wrong)


def history_span(declared: EventTimes | None, times: "pl.Series", now: datetime) -> TimeSpan:
    """The times that are accepted of a file whose times drive the clock.

    Args:
        times: of its rows, UTC, shape (n,); nulls are left out.
        now: the time by the clock, from which units are guessed.
    """
    newest = newest_of(times, declared, now)
    if newest is None:
        return time_span(declared, now)
    span = time_span(declared, newest)

    def wrong(early: bool) -> str:
        at = f"{newest:%Y-%m-%d}, the newest time of the file"
        if not early:
            ahead = "a day" if declared is None or declared.ahead == "1d" else declared.ahead
            return f"more than {ahead} after {at}, rows far from the rest aside"
        return (
            span.wrong(early)
            if declared is not None and declared.earliest is not None
            else f"more than 20 years before {at}"
        )

    return TimeSpan(span.earliest, span.latest, span.usual, wrong)


def newest_of(times: "pl.Series", declared: EventTimes | None, now: datetime) -> datetime | None:
    """The newest time of a history, or the end of its day; None where no time is plausible.

    Rows whose times lie far from the rest do not count: the newest is the last time of which half of the rows lie
    within 20 years. Nor do times that become those of today when their unit is changed, unless the spec allows them.
    """
    days = days_of(times)
    return newest_day(days[0], days[1], declared, now)


def days_of(times: "pl.Series") -> "tuple[Ints, Ints]":
    """The days of times, counted from 1970, with the number of rows of each."""
    import numpy as np

    values = times.drop_nulls().dt.epoch("us").to_numpy()
    days, counts = np.unique(values // _DAY, return_counts=True)
    return days.astype(np.int64), counts.astype(np.int64)


def newest_day(days: "Ints", counts: "Ints", declared: EventTimes | None, now: datetime) -> datetime | None:
    """`newest_of`, from the days of a history in ascending order and their numbers of rows."""
    import numpy as np

    allowed = declared is not None and declared.earliest is not None
    usable = (days >= to_micros(FIRST_TIME) // _DAY) & (days < to_micros(LAST_TIME) // _DAY)
    if not allowed:
        usable &= ~looks_scaled(days * _DAY, now)
    days, counts = days[usable], counts[usable]
    if not len(days):
        return None
    at = int(days[-1])
    if not allowed:
        back = MAX_AGE // timedelta(days=1)
        before = np.concatenate(([0], np.cumsum(counts)))
        first = np.searchsorted(days, days - back)
        ahead = np.searchsorted(days, days + 1, side="right")
        held = np.flatnonzero(2 * (before[ahead] - before[first]) >= before[-1])
        at = int(days[held[-1]]) if len(held) else at
    return _EPOCH + timedelta(days=at + 1) - timedelta(microseconds=1)


def looks_scaled(micros: "Ints", now: datetime) -> "Flags":
    """Which times since 1970 would be those of the last 20 years in a larger unit."""
    import numpy as np

    end, begin = to_micros(now + timedelta(days=1)), to_micros(now - MAX_AGE)
    found: np.ndarray[Any, np.dtype[np.bool_]] = np.zeros(len(micros), dtype=np.bool_)
    for factor in _SCALES:
        found |= (micros + _DAY > begin // factor) & (micros <= end // factor)
    return found


def to_micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _later(at: datetime, by: timedelta) -> datetime:
    try:
        return at + by
    except OverflowError:
        return LAST_TIME


def _earlier(at: datetime, by: timedelta) -> datetime:
    try:
        return at - by
    except OverflowError:
        return FIRST_TIME

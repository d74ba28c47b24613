"""Choose window lengths and the end of an automatic reference from the times of the rows. Pure.

Only event times count, in their order, so that live traffic, a replay and a history sent at once choose the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from core.arrays import Ints
from monitor.spec.duration import duration
from monitor.spec.model import AUTO_REFERENCE_ROWS
from monitor.spec.times import DAY, FIRST_SAMPLE, fitting_lengths, window_times

MIN_SPAN: Final = 1.5  # windows that the times must span: one window alone shows no rate
# Traffic in bursts, such as one batch a day, needs windows that hold a burst: in more than half of them, at least a
# quarter of the mean number of rows. The first window does not count, because times begin with a burst.
MIN_FILLED_SHARE: Final = 0.5
MIN_FILLED_PART: Final = 0.25
MAX_REFERENCE_FACTOR: Final = 1.075  # an automatic reference ends before a window that would take it beyond 1,075 rows
MIN_REFERENCE_ROWS: Final = 400  # rows of the first automatic reference at least
MIN_REFERENCE_WINDOWS: Final = 2  # windows of the first automatic reference at least: one for the text encoders
MAX_RATE_FACTOR: Final = 4.0  # lengths are chosen again when the rate has changed by more than this
MAX_STRAGGLERS: Final = 20  # one row in this many
# Days of reference after which the block rule is tried: from quarters of days, from days, with weeks; then fortnightly.
HAND_OVER_DAYS: Final = (30, 38, 56)
FORTNIGHT: Final = timedelta(days=14)
SHORTEST_BLOCK_LENGTH: Final = "1h"  # shorter windows would need thousands of blocks for one permutation test
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A window length, the rate that it was chosen from, and the first of the times, in microseconds since 1970."""

    length: str
    rows_per_day: float
    first: int


def first_choice(times: Ints) -> Chosen | None:
    """The length that the first rows show: the first 600, or twice as many until they do; None while they do not.

    Args:
        times: of the rows, microseconds since 1970, ascending, shape (rows,).
    """
    rows = FIRST_SAMPLE
    while rows <= len(times):
        if (found := choice(without_stragglers(times[:rows]))) is not None:
            return found
        rows *= 2
    return None


def why_no_length(times: Ints) -> str:
    """Why the times show no window length yet, and what to write instead of waiting.

    Args:
        times: of the rows, microseconds since 1970, ascending, shape (rows,).
    """
    n = len(times)
    have = "1 row has" if n == 1 else f"{n:,} rows have"
    if n < FIRST_SAMPLE:
        return (
            f"{have} arrived, and {FIRST_SAMPLE} are needed before a window length is chosen; to judge fewer, write "
            "`monitors.windows`, such as `[1d]`, and a `baseline`."
        )
    kept = without_stragglers(times)
    span = timedelta(microseconds=int(kept[-1] - kept[0]))
    return (
        f"{have} arrived, but they span only {_words(span)} or come in a few bursts, so no window length can be chosen "
        "yet; it is chosen as rows of later times arrive, or write `monitors.windows`, such as `{rows: 250}`."
    )


def _words(span: timedelta) -> str:
    """A span of time in words, rounded."""
    for unit, length in (("day", DAY), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if span >= 0.95 * length:
            count = round(span / length)
            return f"1 {unit}" if count == 1 else f"{count} {unit}s"
    return f"{max(0, round(span.total_seconds()))} seconds"


def without_stragglers(times: Ints) -> Ints:
    """The times without a few first ones that lie far before the rest, such as a sample row of last year.

    They are at most one in twenty, and the gap after them is more than three times as long as all later times span.
    """
    gaps = np.diff(times[: len(times) // MAX_STRAGGLERS + 1])
    far = np.flatnonzero(gaps > 3 * (times[-1] - times[1 : len(gaps) + 1])) if len(gaps) else gaps
    return times[far[-1] + 1 :] if len(far) else times


def choice(times: Ints) -> Chosen | None:
    """The shortest length that holds about 200 rows or more, and not mostly in a few windows.

    Args:
        times: of the rows, microseconds since 1970, ascending, shape (rows,).

    Returns:
        None where the rows do not span enough time to show it, such as rows of one minute.
    """
    span = float(times[-1] - times[0]) / _MICROS if len(times) else 0.0
    if span <= 0.0:
        return None
    rows_per_day = (len(times) - 1) / span * DAY.total_seconds()
    for length in fitting_lengths(rows_per_day):
        seconds = duration(length).total_seconds()
        if span < MIN_SPAN * seconds:
            return None
        counts = np.unique(times // int(seconds * _MICROS), return_counts=True)[1]
        windows = int(times[-1] // int(seconds * _MICROS) - times[0] // int(seconds * _MICROS)) + 1
        filled = int(np.sum(counts >= MIN_FILLED_PART * len(times) / windows))
        if windows > 1 and filled - 1 > MIN_FILLED_SHARE * (windows - 1):
            return Chosen(length, rows_per_day, int(times[0]))
    return None


def reference_end(times: Ints, origin: datetime, length: str, rows_per_day: float) -> datetime | None:
    """Where an automatic reference ends: with the last window that keeps it at about 1,000 rows.

    Args:
        times: of the rows, microseconds since 1970, ascending, shape (rows,).
        origin: time of the first row.
        length: of a window.
        rows_per_day: expected.

    Returns:
        The end of a window; None while more rows must come.
    """
    expected = rows_per_day * (duration(length) / DAY)
    # Both limits are kept by more rows too, so the window of the last row that they need is the one; years without a
    # row, between a stray one and the others, cost nothing.
    needed = max(MIN_REFERENCE_ROWS, math.floor(MAX_REFERENCE_FACTOR * AUTO_REFERENCE_ROWS - expected) + 1)
    if len(times) < needed:
        return None
    begin, first_end = window_times(origin, length, 0)
    holding = (int(times[needed - 1]) - _micros(begin)) // (_micros(first_end) - _micros(begin))
    _, end = window_times(origin, length, max(holding, MIN_REFERENCE_WINDOWS - 1))
    return end if _micros(end) <= times[-1] else None


def lookbacks(windows: Sequence[str]) -> tuple[timedelta, timedelta]:
    """How long a rate is watched before lengths are chosen again: where it rose, and where it fell.

    A rise must last for a window and a day, with its night; a fall for two windows and a week, with its weekend.
    """
    longest = max(duration(w) for w in windows)
    return max(DAY, longest), max(7 * DAY, 2 * longest)


def block_candidates(length: str, lasted: timedelta) -> tuple[tuple[str, ...], ...]:
    """Window lengths that the block rule may judge by a reference of this time, the preferred ones first.

    Args:
        length: chosen from the traffic.
        lasted: time that the reference spans.
    """
    quarters, short, weeks = (timedelta(days=d) for d in HAND_OVER_DAYS)
    if lasted < quarters:
        return ()
    if duration(length) > DAY:
        return ((length,),)
    found: list[tuple[str, ...]] = []
    if duration(length) < DAY and lasted >= short:
        found.append((max(length, SHORTEST_BLOCK_LENGTH, key=duration),))
    if lasted >= weeks:
        found.append(("1d", "7d"))
    return (*found, ("1d",))


def tries_hand_over(lasted: timedelta, step: timedelta) -> bool:
    """Whether the block rule is tried when a reference has grown to this time by a last step."""
    days = [timedelta(days=d) for d in HAND_OVER_DAYS]
    while days[-1] < lasted:
        days.append(days[-1] + FORTNIGHT)
    return any(lasted - step < at <= lasted for at in days)


def is_boundary(at: datetime, length: str) -> bool:
    """Whether windows of a length can begin at a time, whose windows are counted from multiples of it, or of a day."""
    return window_times(at, length, 0)[0] == at


def _micros(at: datetime) -> int:
    return round(at.timestamp() * _MICROS)

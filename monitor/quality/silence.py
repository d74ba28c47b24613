"""How long rows may stay away: pauses between arrivals, on the wall clock and on the clock of the week."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats

NAME: Final = "silence"
FACTOR: Final = 1.5  # a pause by less than this longer than any before never alarms
LEAST_MIN: Final = 5.0  # nor does one shorter than this
SHORTEST_DAYS: Final = 7  # of arrivals, before which nothing is judged
FEWEST: Final = 5  # pauses
COUNTS: Final = (4, 8, 16, 32, 64)  # of the longest pauses that a power is fitted to, at most a fifth of them
SURE: Final = 2.0  # standard errors on top of a shape: few pauses say little of what is longer still
DENSE: Final = 5.0  # minutes with a row in an hour of the week that has any, before hours are told apart
FINE_DAYS: Final = 14  # from here on every hour of the week is known apart
_HOUR, _DAY, _WEEK = 60, 1_440, 10_080
_MONDAY: Final = 3 * _DAY  # the epoch began on a Thursday; weeks begin on Monday

_HOURS: Final = np.arange(168)
_DAYTIME: Final = _HOURS % 24 + 24 * (_HOURS >= 120)  # an hour of any weekday, or of the weekend


@dataclass(frozen=True, slots=True)
class Tail:
    """The longest pause, and powers fitted to those above a few anchors: anchor, pauses above it, and shape."""

    longest: float
    powers: tuple[tuple[float, int, float], ...]

    def limit(self, times: float) -> float:
        """The pause that is expected once in a stretch `times` as long as the one known, at least FACTOR the longest.

        Pauses of several kinds (nights and weekends) make a power that is fitted across two of them far too heavy, so
        the lightest of the fits counts.

        Source: Weissman (1978), of the shape by Hill (1975).
        """
        beyond = min(anchor * max(1.0, count * times) ** shape for anchor, count, shape in self.powers)
        return float(max(beyond, FACTOR * self.longest))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is known of when rows come. `reason`: why silence cannot be judged by it, None where it can.

    `days`: how long they were watched. `minutes`: of these, with a row. `wall`: pauses in minutes. `week`: pauses in
    minutes with a row that would have been expected meanwhile. `rates`: those expected in each hour of the week, UTC.
    """

    days: float
    minutes: int
    reason: str | None = None
    wall: Tail | None = None
    week: Tail | None = None
    rates: tuple[float, ...] = ()


def arrivals(minutes: NDArray[np.int64], outages: Sequence[tuple[float, float]] = ()) -> Arrivals:
    """Learn from the minutes in which rows came how long they usually stay away.

    A pause is the time between two neighbouring minutes with a row. It is measured twice: in minutes, and in the
    minutes with a row that such hours of the week usually have, so that a night without rows is short and a Monday noon
    long. What is usual in an hour is the least of the hour and its two neighbours (a feed may begin its day an hour
    later, and does when the clocks are changed), and never counts the day that the pause lies in.

    Args:
        minutes: minutes since the epoch that had a row, ascending, each once.
        outages: stretches of minutes that were told as silence; pauses in them are no example of what is usual.
    """
    if len(minutes) == 0:
        return Arrivals(0.0, 0, "no row has arrived")
    days = float(minutes[-1] - minutes[0] + 1) / _DAY
    if days < SHORTEST_DAYS - 0.5:  # the first and the last row of a week lie less than a week apart
        return Arrivals(days, len(minutes), f"reference too short: arrivals of {SHORTEST_DAYS} days are needed")
    usual = np.ones(len(minutes) - 1, dtype=bool)
    for begin, end in outages:
        usual &= (minutes[1:] <= begin) | (minutes[:-1] >= end)
    if usual.sum() < FEWEST:
        return Arrivals(
            days, len(minutes), f"reference too short: rows came at {usual.sum() + 1} times, {FEWEST + 1} are needed"
        )
    wall = _tail(np.diff(minutes)[usual].astype(np.float64))
    for cells in (_HOURS, _DAYTIME) if days >= FINE_DAYS - 0.5 else (_DAYTIME,):
        found = _week(minutes, cells)
        if found is not None:
            rates, clock = found
            return Arrivals(days, len(minutes), None, wall, _tail(np.diff(clock)[usual]), tuple(rates.tolist()))
    return Arrivals(days, len(minutes), None, wall)


def plausible_min(known: Arrivals, since: float, times: float) -> float:
    """Minutes that rows may stay away from a minute on before that is told; both clocks are asked.

    Args:
        known: with `reason` None.
        since: minutes since the epoch at which the newest row came.
        times: stretch in which one false alarm is allowed, in stretches as long as the one known. Either clock may
            spend half of it.
    """
    assert known.wall is not None
    clocks = 1.0 if known.week is None else 2.0
    longest = known.wall.limit(clocks * times)
    if known.week is None:
        return max(LEAST_MIN, longest)
    left, at = known.week.limit(clocks * times), since
    for rate, until in _hours(known.rates, since):
        if at - since >= longest:
            break
        if rate * (until - at) / _HOUR > left:
            return max(LEAST_MIN, min(longest, at - since + left * _HOUR / rate))
        left, at = left - rate * (until - at) / _HOUR, until
    return max(LEAST_MIN, longest)


def _hours(rates: Sequence[float], since: float) -> Iterator[tuple[float, float]]:
    """Rate and end of each hour from a minute on, without end."""
    hour = math.floor(since / _HOUR)
    while True:
        yield rates[(hour + _MONDAY // _HOUR) % len(rates)], (hour + 1.0) * _HOUR
        hour += 1


def _week(minutes: NDArray[np.int64], cells: NDArray[np.int64]) -> tuple[Floats, Floats] | None:
    """Minutes with a row in each hour of the week, and the clock that counts them as expected, at every minute.

    None where there are too few to tell hours apart. `cells`: which hours of the week are taken for alike.
    """
    first = int(minutes[0]) // _HOUR
    slots = np.arange(first, int(minutes[-1]) // _HOUR + 1)
    own = np.bincount(minutes // _HOUR - first, minlength=len(slots)).astype(np.float64)
    cell = cells[(slots + _MONDAY // _HOUR) % len(cells)]
    whole = np.ones(len(slots), dtype=bool)
    whole[[0, -1]] = False  # the first and the last hour were seen in part
    size = int(cells.max()) + 1
    total = np.bincount(cell[whole], weights=own[whole], minlength=size)
    seen = np.bincount(cell[whole], minlength=size).astype(np.float64)
    if total.sum() < DENSE * np.count_nonzero(total):
        return None
    rates = (total / np.maximum(seen, 1.0))[cells]
    rates = np.minimum(rates, np.minimum(np.roll(rates, 1), np.roll(rates, -1)))
    others = (total[cell] - own * whole) / np.maximum(seen[cell] - whole, 1.0)
    padded = np.concatenate([[others[0]], others, [others[-1]]])
    others = np.minimum(others, np.minimum(padded[:-2], padded[2:]))
    ends = np.concatenate([[0.0], np.cumsum(others)])
    at = minutes // _HOUR - first
    return rates, ends[at] + others[at] * (minutes % _HOUR) / _HOUR


def _tail(pauses: Floats) -> Tail:
    """Powers fitted to the longest pauses."""
    ordered = np.sort(pauses)
    powers: list[tuple[float, int, float]] = []
    for count in COUNTS:
        if count >= len(ordered) or (powers and count > len(ordered) / 5):
            break
        anchor = max(float(ordered[-count - 1]), 1.0)
        logs = np.log(np.maximum(ordered[-count:], anchor) / anchor)
        powers.append((anchor, count, float(logs.mean()) * (1.0 + SURE / math.sqrt(count))))
    return Tail(float(ordered[-1]), tuple(powers))

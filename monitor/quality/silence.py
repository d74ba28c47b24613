"""How long a pause between arrivals is plausible, measured in wall time and in the usual rhythm of the week."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints

NAME: Final = "silence"
MIN_FACTOR: Final = 1.5  # a pause must be longer than the longest known one by this factor to alarm
MIN_SILENCE_MINUTES: Final = 5.0  # a shorter pause never alarms
MIN_DAYS: Final = 7  # days of arrivals before silence is judged
MIN_PAUSES: Final = 5
TAIL_SIZES: Final = (4, 8, 16, 32, 64)  # numbers of longest pauses to fit a tail to, each at most a fifth of all
SHAPE_MARGIN: Final = 2.0  # standard errors added to a shape, because few pauses determine it poorly
MIN_MINUTES_PER_HOUR: Final = 5.0  # minutes with a row, on average per hour that has any, to distinguish hours
HOURLY_FROM_DAYS: Final = 14  # days of arrivals from which each hour of the week has a rate of its own
_HOUR, _DAY = 60, 1_440  # minutes
_MONDAY: Final = 3 * _DAY  # the epoch began on a Thursday; weeks begin on Monday

_HOURS: Final = np.arange(168)
_DAYTIME: Final = _HOURS % 24 + 24 * (_HOURS >= 120)  # an hour of any weekday, or of a weekend day


@dataclass(frozen=True, slots=True)
class ParetoTail:
    """The longest pause, and Pareto tails fitted above a few anchors: anchor, number of pauses above it, and shape."""

    longest: float
    powers: tuple[tuple[float, int, float], ...]

    def limit(self, times: float) -> float:
        """The pause that is expected once in a period `times` as long as the observed one.

        A tail that is fitted across pauses of two kinds, such as nights and weekends, is far too heavy. Therefore the
        lightest fit counts.

        Args:
            times: length of the period, in observed periods.

        Returns:
            A pause in the unit of the pauses, at least MIN_FACTOR times the longest one.

        Source: Weissman (1978), with the shape by Hill (1975).
        """
        beyond = min(anchor * max(1.0, count * times) ** shape for anchor, count, shape in self.powers)
        return float(max(beyond, MIN_FACTOR * self.longest))


@dataclass(frozen=True, slots=True)
class ArrivalPattern:
    """When rows usually arrive. `reason` states why it cannot be used to judge a silence; None if it can.

    `days` is the length of the observed period, and `minutes` the number of minutes in it with a row. `wall` describes
    pauses in minutes of wall time. `week` describes pauses in expected minutes: the minutes with a row that the same
    hours of the week usually have. `rates` are the expected minutes in each hour of the week, UTC, from Monday 0:00.
    """

    days: float
    minutes: int
    reason: str | None = None
    wall: ParetoTail | None = None
    week: ParetoTail | None = None
    rates: tuple[float, ...] = ()


def arrival_pattern(minutes: Ints, outages: Sequence[tuple[float, float]] = ()) -> ArrivalPattern:
    """Learn from past arrivals how long pauses usually are.

    A pause is the time between two consecutive minutes with a row. It is measured twice: in minutes, and in expected
    minutes, the minutes with a row that the same hours of the week usually have. By the second measure a night without
    rows is short and a Monday noon is long. The expectation of an hour is the smallest rate among the hour and its two
    neighbours, because a feed may begin its day an hour later, and does when the clocks change. It never includes the
    day of the pause itself.

    Args:
        minutes: minutes since the epoch that had a row, ascending, each once, shape (minutes,).
        outages: begin and end, in minutes since the epoch, of silences that were announced. Pauses in them are no
            example of a usual pause.

    Returns:
        The pattern. Its `reason` is set if there are fewer than 7 days of arrivals or fewer than 5 usual pauses.

    Source: Hill (1975) for the tails; Papangelou (1972) for the change of time.
    """
    if len(minutes) == 0:
        return ArrivalPattern(0.0, 0, "no row has arrived")
    days = float(minutes[-1] - minutes[0] + 1) / _DAY
    if days < MIN_DAYS - 0.5:  # the first and the last row of a week lie less than a week apart
        return ArrivalPattern(days, len(minutes), f"reference too short: arrivals of {MIN_DAYS} days are needed")
    usual = np.ones(len(minutes) - 1, dtype=bool)
    for begin, end in outages:
        usual &= (minutes[1:] <= begin) | (minutes[:-1] >= end)
    if usual.sum() < MIN_PAUSES:
        return ArrivalPattern(
            days,
            len(minutes),
            f"reference too short: rows came at {usual.sum() + 1} times, {MIN_PAUSES + 1} are needed",
        )
    wall = _pareto(np.diff(minutes)[usual].astype(np.float64))
    for cells in (_HOURS, _DAYTIME) if days >= HOURLY_FROM_DAYS - 0.5 else (_DAYTIME,):
        found = _week(minutes, cells)
        if found is not None:
            rates, clock = found
            return ArrivalPattern(days, len(minutes), None, wall, _pareto(np.diff(clock)[usual]), tuple(rates.tolist()))
    return ArrivalPattern(days, len(minutes), None, wall)


def plausible_silence(known: ArrivalPattern, since: float, times: float) -> float:
    """The longest pause that is still plausible, by wall time and by expected minutes.

    Args:
        known: the usual arrivals, with `reason` None.
        since: arrival of the newest row, minutes since the epoch.
        times: period in which one false alarm is allowed, in observed periods. Each of the two measures may spend half
            of it.

    Returns:
        Minutes after `since`, at least 5. The shorter of the two measures counts.

    Source: Weissman (1978) for the quantiles of the tails.
    """
    assert known.wall is not None
    clocks = 1.0 if known.week is None else 2.0
    longest = known.wall.limit(clocks * times)
    if known.week is None:
        return max(MIN_SILENCE_MINUTES, longest)
    left, at = known.week.limit(clocks * times), since
    for rate, until in _hours(known.rates, since):
        if at - since >= longest:
            break
        if rate * (until - at) / _HOUR > left:
            return max(MIN_SILENCE_MINUTES, min(longest, at - since + left * _HOUR / rate))
        left, at = left - rate * (until - at) / _HOUR, until
    return max(MIN_SILENCE_MINUTES, longest)


def _hours(rates: Sequence[float], since: float) -> Iterator[tuple[float, float]]:
    """Rate and end (minutes since the epoch) of each hour from a minute on, without end."""
    hour = math.floor(since / _HOUR)
    while True:
        yield rates[(hour + _MONDAY // _HOUR) % len(rates)], (hour + 1.0) * _HOUR
        hour += 1


def _week(minutes: Ints, cells: Ints) -> tuple[Floats, Floats] | None:
    """Expected minutes in each hour of the week, and the sum of expected minutes up to each minute with a row.

    `cells` numbers the hours of the week; hours with one number share a rate. None if there are too few minutes to
    distinguish the hours.
    """
    first = int(minutes[0]) // _HOUR
    slots = np.arange(first, int(minutes[-1]) // _HOUR + 1)
    own = np.bincount(minutes // _HOUR - first, minlength=len(slots)).astype(np.float64)
    cell = cells[(slots + _MONDAY // _HOUR) % len(cells)]
    whole = np.ones(len(slots), dtype=bool)
    whole[[0, -1]] = False  # the first and the last hour were observed in part
    size = int(cells.max()) + 1
    total = np.bincount(cell[whole], weights=own[whole], minlength=size)
    seen = np.bincount(cell[whole], minlength=size).astype(np.float64)
    if total.sum() < MIN_MINUTES_PER_HOUR * np.count_nonzero(total):
        return None
    rates = (total / np.maximum(seen, 1.0))[cells]
    rates = np.minimum(rates, np.minimum(np.roll(rates, 1), np.roll(rates, -1)))
    others = (total[cell] - own * whole) / np.maximum(seen[cell] - whole, 1.0)
    padded = np.concatenate([[others[0]], others, [others[-1]]])
    others = np.minimum(others, np.minimum(padded[:-2], padded[2:]))
    ends = np.concatenate([[0.0], np.cumsum(others)])
    at = minutes // _HOUR - first
    return rates, ends[at] + others[at] * (minutes % _HOUR) / _HOUR


def _pareto(pauses: Floats) -> ParetoTail:
    """Pareto tails fitted to the longest pauses."""
    ordered = np.sort(pauses)
    powers: list[tuple[float, int, float]] = []
    for count in TAIL_SIZES:
        if count >= len(ordered) or (powers and count > len(ordered) / 5):
            break
        anchor = max(float(ordered[-count - 1]), 1.0)
        logs = np.log(np.maximum(ordered[-count:], anchor) / anchor)
        powers.append((anchor, count, float(logs.mean()) * (1.0 + SHAPE_MARGIN / math.sqrt(count))))
    return ParetoTail(float(ordered[-1]), tuple(powers))

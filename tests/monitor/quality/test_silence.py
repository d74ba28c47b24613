"""How long rows may stay away: by hand, and against the budget on feeds that do not stop."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.quality.silence import MIN_FACTOR, arrival_pattern, plausible_silence

DAY, WEEK = 1_440, 10_080
MONDAY = 4 * DAY  # 5 January 1970
BETWEEN = 1_200.0  # days between false alarms: one fortieth of one in 30 days

Minutes = NDArray[np.int64]
Feed = Callable[[np.random.Generator, int], Minutes]


def every(minutes: int, days: int) -> Minutes:
    return MONDAY + np.arange(0, days * DAY, minutes)


def working_hours(random: np.random.Generator, days: int) -> Minutes:
    """Monday to Friday, from about 9 to about 18, three minutes in four."""
    at = np.arange(days * DAY)
    begin, end = (hour * 60 + random.normal(0, 10, days)[at // DAY] for hour in (9, 18))
    open_ = (at % WEEK < 5 * DAY) & (at % DAY >= begin) & (at % DAY < end)
    return (MONDAY + at[open_ & (random.random(len(at)) < 0.75)]).astype(np.int64)


def unsteady(random: np.random.Generator, days: int) -> Minutes:
    """Day and night, quieter weekends, and days that differ."""
    at = np.arange(days * DAY)
    rate = 0.7 * (1 + 0.8 * np.sin(2 * np.pi * at / DAY)) * np.where(at % WEEK < 5 * DAY, 1.0, 0.4)
    rate *= np.exp(random.normal(0, 0.3, days))[at // DAY]
    return (MONDAY + at[random.random(len(at)) < 1 - np.exp(-rate)]).astype(np.int64)


def daily(random: np.random.Generator, days: int) -> Minutes:
    return (MONDAY + np.arange(days) * DAY + 120 + random.lognormal(3, 0.8, days)).astype(np.int64)


def sparse(random: np.random.Generator, days: int) -> Minutes:
    return MONDAY + np.flatnonzero(random.random(days * DAY) < 1 / 90)


def test_a_regular_feed_may_stay_away_for_half_as_long_again() -> None:
    known = arrival_pattern(every(60, 28))
    assert known.reason is None
    assert plausible_silence(known, float(MONDAY + 28 * DAY), BETWEEN / known.days) == pytest.approx(60 * MIN_FACTOR)


@pytest.mark.parametrize("between", [1, 7])
def test_a_feed_that_drops_once_a_day_or_a_week_is_not_silent_between_drops(between: int) -> None:
    minutes = every(between * DAY, 56)
    found = plausible_silence(arrival_pattern(minutes), float(minutes[-1]), BETWEEN / 56)
    assert found == pytest.approx(between * DAY * MIN_FACTOR, rel=0.01)


def test_nights_and_weekends_are_plausible_and_a_silent_noon_is_not() -> None:
    known = arrival_pattern(working_hours(np.random.default_rng(1), 28))
    friday, monday = MONDAY + 28 * DAY + 4 * DAY + 18 * 60, MONDAY + 35 * DAY + 12 * 60
    over = plausible_silence(known, float(friday), BETWEEN / known.days)
    assert over > (monday - 3 * 60) - friday + 60  # an hour late on Monday is nothing
    assert over < monday + 120 - friday
    assert plausible_silence(known, float(monday), BETWEEN / known.days) < 60


def test_too_little_says_what_is_missing() -> None:
    assert arrival_pattern(np.array([], dtype=np.int64)).reason == "no row has arrived"
    assert "7 days" in (arrival_pattern(every(1, 6)).reason or "")
    assert "6 are needed" in (arrival_pattern(every(7 * DAY, 21)).reason or "")
    assert arrival_pattern(every(1, 7)).reason is None


def test_a_silence_that_was_announced_is_no_example_of_a_usual_pause() -> None:
    minutes = every(10, 28)
    gap = (MONDAY + 10 * DAY, MONDAY + 13 * DAY)
    broken = minutes[(minutes <= gap[0]) | (minutes >= gap[1])]
    end = float(minutes[-1])
    learned = [arrival_pattern(broken, outages) for outages in ((), ((gap[0] + 0.5, gap[1] + 0.5),))]
    without, with_outage = (plausible_silence(known, end, BETWEEN / 28) for known in learned)
    assert with_outage < 30 < without


@pytest.mark.parametrize("feed", [working_hours, unsteady, daily, sparse])
@pytest.mark.parametrize("days", [14, 56])
def test_feeds_that_do_not_stop_keep_the_budget(feed: Feed, days: int) -> None:
    """The share of months with a false alarm, over many references."""
    false, months = 0, 0
    for seed in range(30):
        minutes = feed(np.random.default_rng([seed, days]), days + 90)
        cut = MONDAY + days * DAY
        known, after = arrival_pattern(minutes[minutes < cut]), minutes[minutes >= cut]
        assert known.reason is None
        pauses = np.diff(after)
        longest = np.argsort(pauses)[-200:]
        early = [
            after[at] for at in longest if pauses[at] > plausible_silence(known, float(after[at]), BETWEEN / known.days)
        ]
        false, months = false + len({(at - cut) // (30 * DAY) for at in early}), months + 3
    rate = 30 / BETWEEN
    assert false <= months * rate + 3 * np.sqrt(months * rate)

"""Volume: its p is uniform without a change, a weekly rhythm is none, a tenth and five times the rows are found."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from monitor.quality import volume
from monitor.quality.volume import MIN_DEGREES, Volume

DAY, HOUR = 86_400, 3_600
MONDAY = 4 * 7 + 4  # the epoch's first day was a Thursday
WEEKDAYS = np.array([1.0, 1.1, 1.0, 0.9, 1.0, 0.25, 0.2])


def days(
    random: np.random.Generator, start: int, count: int, *, spread: float = 0.15, rhythm: bool = True
) -> dict[int, int]:
    base = 1000.0 * (WEEKDAYS[np.arange(start, start + count) % 7] if rhythm else 1.0)
    return {MONDAY + start + i: int(n) for i, n in enumerate(base * random.lognormal(0.0, spread, count))}


@pytest.mark.parametrize(("reference", "window"), [(10, 1), (14, 1), (28, 1), (28, 7), (60, 7)])
@pytest.mark.parametrize("rhythm", [False, True])
def test_without_a_change_p_holds_its_level_on_every_day_of_the_week(
    reference: int, window: int, *, rhythm: bool
) -> None:
    random = np.random.default_rng(3)
    found = [
        volume(days(random, 0, reference, rhythm=rhythm), days(random, reference + at % 7, window, rhythm=rhythm), DAY)
        for at in range(1400)
    ]
    for level in (0.02, 0.1):
        rate = np.mean([v.p is not None and v.p <= level for v in found])
        # In ten days weekdays are one phase; their own differences are in the spread, so that the rate may be lower.
        low = 0.0 if rhythm and reference < 14 else level - 4 * math.sqrt(level / len(found))
        assert low <= rate <= level + 4 * math.sqrt(level / len(found))


@pytest.mark.parametrize("alpha", [0.05 / 60, 0.01])
def test_alarms_without_a_change_are_no_more_than_their_rate_and_never_come_week_after_week(alpha: float) -> None:
    random = np.random.default_rng(4)
    alarms = [
        volume(days(random, 0, 28), days(random, 28 + at % 7, 1), DAY).changed(alpha) for at in range(3000)
    ]  # fmt: skip
    assert np.mean(alarms) <= alpha + 3 * math.sqrt(alpha / len(alarms))
    reference = days(random, 0, 10)
    sundays = [volume(reference, days(random, 13 + 7 * week, 1), DAY) for week in range(40)]
    assert sum(v.changed(alpha) for v in sundays) == 0


@pytest.mark.parametrize("factor", [0.1, 5.0])
@pytest.mark.parametrize(("reference", "window"), [(10, 1), (28, 1), (28, 7)])
def test_a_tenth_and_five_times_the_rows_are_found_at_the_rate_of_one_alarm_a_month(
    factor: float, reference: int, window: int
) -> None:
    random = np.random.default_rng(5)
    found = []
    for at in range(200):
        usual = days(random, reference + (at % 4 if reference == 10 else at % 7), window)
        changed = {block: int(rows * factor) for block, rows in usual.items()}
        found.append(volume(days(random, 0, reference), changed, DAY).changed(0.05 / 60))
    assert np.mean(found) >= 0.95


def test_the_test_is_students_prediction_interval() -> None:
    random = np.random.default_rng(6)
    own = days(random, 0, 13, rhythm=False)
    weekdays = {b: n for b, n in own.items() if (b - MONDAY) % 7 < 5}
    now = {MONDAY + 14: 1500, MONDAY + 15: 1300}
    found = volume(weekdays, now, DAY)
    logs, window = np.log1p(list(weekdays.values())), np.log1p(list(now.values()))
    error = logs.std(ddof=1) * math.sqrt(1 / len(window) + 1 / len(logs))
    expected = 2 * stats.t.sf(abs(window.mean() - logs.mean()) / error, len(logs) - 1)
    assert found.p == pytest.approx(expected)
    assert found.phases == 1
    assert found.ratio == pytest.approx(1400 / np.mean(list(weekdays.values())))


def test_a_time_of_the_week_that_the_reference_never_had_is_not_tested_and_says_so() -> None:
    weekdays = {MONDAY + i: 1000 for i in range(5)}
    sunday = volume(weekdays, {MONDAY + 6: 100}, DAY)
    assert (sunday.p, sunday.ratio) == (None, None)
    assert sunday.reason == "the reference has no whole block at this time of the week"
    week = volume(weekdays, {MONDAY + 7 + i: 1000 if i < 5 else 100 for i in range(7)}, DAY)
    assert (week.blocks, week.ratio) == (5, 1.0)


def test_hours_are_compared_with_the_same_hour() -> None:
    rows = np.where((np.arange(24) >= 8) & (np.arange(24) < 18), 500, 20)
    reference = {24 * (MONDAY + d) + h: int(rows[h]) for d in range(4) for h in range(24)}
    monday = 24 * (MONDAY + 7)
    night = volume(reference, {monday + 3: 21}, HOUR)
    assert night.p is not None
    assert not night.outside
    silent = volume(reference, {monday + 11: 50}, HOUR)
    assert silent.changed(0.001)


@pytest.mark.parametrize(
    ("reference", "window", "reason"),
    [
        ({}, {MONDAY: 5}, "no whole block"),
        (dict.fromkeys(range(MONDAY, MONDAY + 2), 100), {MONDAY + 2: 5}, f"{MIN_DEGREES} more than phases"),
        ({MONDAY: 100}, {}, "the window has no block"),
    ],
)
def test_what_cannot_be_tested_says_why(reference: Mapping[int, int], window: Mapping[int, int], reason: str) -> None:
    found = volume(reference, window, DAY)
    assert found.p is None
    assert reason in (found.reason or "")
    assert not found.changed(0.5)


def test_a_day_without_a_row_is_a_change_and_a_night_that_never_had_one_is_not() -> None:
    assert volume({MONDAY + i: 1000 + i for i in range(14)}, {MONDAY + 14: 0}, DAY).changed(0.001)
    quiet = volume(dict.fromkeys(range(MONDAY, MONDAY + 14), 0), {MONDAY + 14: 1}, DAY)
    assert quiet.ratio == 1.0
    assert not quiet.outside


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1010.1, "about 1,000 times"), (2.53, "2.5 times"), (0.25, "0.25 times"), (1e-5, "less than 0.001 times")],
)
def test_a_ratio_is_told_without_powers_of_ten(ratio: float, words: str) -> None:
    assert Volume(1.0, 1.0, ratio, 0.001, None, 1, 1).times == words

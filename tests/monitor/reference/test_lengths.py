"""Window lengths and the end of a reference that are chosen from the times of rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitor.reference import lengths
from monitor.spec.duration import duration
from monitor.spec.times import DAY, LADDER, fitting_lengths, next_sample

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
SECOND = 1_000_000


def arrivals(rows_per_day: float, days: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    seconds = np.sort(random.random(random.poisson(rows_per_day * days))) * days * 86_400
    return (BEGIN.timestamp() * SECOND + seconds * SECOND).astype(np.int64)


@pytest.mark.parametrize(("rate", "length"), [(20, "14d"), (200, "1d"), (2_000, "3h"), (48_000, "10m"), (10**7, "1m")])
def test_the_shortest_length_with_about_200_rows_fits(rate: float, length: str) -> None:
    assert fitting_lengths(rate)[0] == length
    assert rate * (duration(length) / DAY) >= 180


def test_hardly_any_rows_get_the_longest_length() -> None:
    assert fitting_lengths(0.1) == (LADDER[-1],)


def test_random_arrivals_of_200_rows_a_day_give_days_nearly_always() -> None:
    found = [lengths.first_choice(arrivals(200, 8, seed)) for seed in range(300)]
    share = np.mean([one is not None and one.length == "1d" for one in found])
    assert share >= 0.98


def test_rows_of_one_minute_choose_nothing() -> None:
    times = arrivals(1, 1, 0)[:1].repeat(5_000) + np.sort(np.random.default_rng(0).integers(0, 60 * SECOND, 5_000))
    assert lengths.first_choice(times) is None


def test_one_batch_a_day_gets_windows_that_hold_a_batch() -> None:
    start = int(BEGIN.timestamp() * SECOND)
    times = np.concatenate([start + (d * 86_400 + np.arange(900) / 20) * SECOND for d in range(8)]).astype(np.int64)
    found = lengths.first_choice(times)
    assert found is not None
    assert found.length == "1d"


def test_a_sample_row_of_last_year_does_not_count() -> None:
    times = arrivals(2_000, 1, 3)
    with_sample = np.concatenate([times[:1] - 400 * 86_400 * SECOND, times])
    found, plain = lengths.first_choice(with_sample), lengths.first_choice(times)
    assert found is not None
    assert plain is not None
    assert (found.length, found.first) == (plain.length, int(times[0]))


def test_the_reference_of_200_rows_a_day_ends_after_five_days() -> None:
    ends = [lengths.reference_end(arrivals(200, 9, seed), BEGIN, "1d", 200.0) for seed in range(100)]
    assert ends.count(BEGIN + 5 * DAY) >= 95


def test_a_reference_waits_until_rows_lie_after_its_end() -> None:
    assert lengths.reference_end(arrivals(200, 3, 0), BEGIN, "1d", 200.0) is None


def test_years_without_a_row_within_the_first_rows_cost_nothing() -> None:
    times = arrivals(43_200, 0.5, 1)
    with_old = np.concatenate([times[:1] - 20 * 365 * 86_400 * SECOND, times])
    origin = BEGIN - timedelta(days=20 * 365)
    end = lengths.reference_end(with_old, origin, "1s", 43_200.0)  # walked second by second, this took hours
    assert end is not None
    assert 1_074 <= np.searchsorted(with_old, round(end.timestamp() * SECOND)) <= 1_076


def test_the_next_sample_is_twice_as_large() -> None:
    assert [next_sample(n) for n in (0, 599, 600, 1_200)] == [600, 600, 1_200, 2_400]


def test_the_block_rule_is_tried_at_30_38_and_56_days_and_then_fortnightly() -> None:
    days = [d for d in range(1, 100) if lengths.tries_hand_over(timedelta(days=d), DAY)]
    assert days == [30, 38, 56, 70, 84, 98]


@pytest.mark.parametrize(
    ("length", "days", "expected"),
    [
        ("1d", 29, ()), ("1d", 30, (("1d",),)), ("1d", 56, (("1d", "7d"), ("1d",))), ("10m", 38, (("1h",), ("1d",))),
        ("14d", 120, (("14d",),)),
    ],
)  # fmt: skip
def test_the_lengths_for_the_block_rule_need_their_time(
    length: str, days: int, expected: tuple[tuple[str, ...], ...]
) -> None:
    assert lengths.block_candidates(length, timedelta(days=days)) == expected

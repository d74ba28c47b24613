"""Which rows lie far from the rest in time: test rows of last year do, nights, weekends and thin traffic do not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from monitor.reference.far_rows import describe_far_rows, far_from_the_rest, split_far_rows

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def times(*parts: tuple[timedelta, int, timedelta]) -> pl.Series:
    """Times of rows: (begin after BEGIN, rows, one row every)."""
    found = [BEGIN + begin + i * every for begin, rows, every in parts for i in range(rows)]
    return pl.Series("ts", found, dtype=pl.Datetime("us", "UTC"))


def frame(ts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"seq": range(len(ts)), "event_id": [f"e{i}" for i in range(len(ts))], "ts": ts})


@pytest.mark.parametrize(
    ("parts", "far"),
    [
        ([(-730 * DAY, 1, HOUR), (0 * DAY, 100, HOUR)], [0]),
        ([(-730 * DAY, 3, 40 * DAY), (0 * DAY, 100, HOUR)], [0, 1, 2]),
        ([(0 * DAY, 100, HOUR), (900 * DAY, 1, HOUR)], [100]),
        ([(-400 * DAY, 1, HOUR), (0 * DAY, 100, HOUR), (400 * DAY, 1, HOUR)], [0, 101]),
        ([(-3 * DAY, 2, HOUR), (0 * DAY, 100, timedelta(minutes=1))], []),  # Friday afternoon, then a busy Monday
        ([(0 * DAY, 50, timedelta(minutes=1)), (DAY, 50, timedelta(minutes=1))], []),  # a night
        ([(0 * DAY, 60, 10 * DAY)], []),  # a row every ten days
        ([(-730 * DAY, 30, HOUR), (0 * DAY, 100, HOUR)], []),  # more than a tenth: traffic of its own
        ([(-10 * DAY, 1, HOUR), (0 * DAY, 25, 4 * DAY)], []),  # no farther than its own pauses explain
        ([(-730 * DAY, 1, HOUR)], []),
        ([(-730 * DAY, 1, HOUR), (0 * DAY, 1, HOUR)], []),
    ],
    ids=["old", "several", "future", "both", "weekend", "night", "thin", "many", "pauses", "one", "two"],
)
def test_rows_beyond_a_long_pause_are_far_if_they_are_few(
    parts: list[tuple[timedelta, int, timedelta]], far: list[int]
) -> None:
    assert np.flatnonzero(far_from_the_rest(times(*parts))).tolist() == far


def test_as_many_later_rows_replace_far_ones_and_rows_that_go_on_to_arrive_are_none_of_them() -> None:
    ts = times((-730 * DAY, 2, HOUR), (0 * DAY, 100, HOUR), (300 * DAY, 50, HOUR))
    kept, far = split_far_rows(frame(ts), 100)
    assert far["seq"].to_list() == [0, 1]
    assert kept["seq"].to_list() == list(range(2, 152))


def test_an_old_row_that_arrives_later_is_left_out_too() -> None:
    ts = times((0 * DAY, 100, HOUR), (-730 * DAY, 1, HOUR), (5 * DAY, 10, HOUR))
    kept, far = split_far_rows(frame(ts), 100)
    assert far["seq"].to_list() == [100]
    assert kept.height == 110


def test_what_is_stored_names_the_rows_by_side() -> None:
    rows = frame(times((-730 * DAY, 2, HOUR), (0 * DAY, 100, HOUR), (900 * DAY, 1, HOUR)))
    kept, far = split_far_rows(rows, 103)
    before, after = describe_far_rows(far, kept)
    assert (before["side"], before["rows"], before["event_ids"]) == ("before", 2, ["e0", "e1"])
    assert (after["side"], after["rows"], after["event_ids"]) == ("after", 1, ["e102"])
    assert datetime.fromisoformat(after["from"]) == BEGIN + 900 * DAY

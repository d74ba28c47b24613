"""The period of a command: days in a time zone, quarters, and what is refused with the option named."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.commands.period import period
from core.errors import InvalidError

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)

PERIODS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "2026-10-29T09:30", "2026-11-28T09:30"),
    ({"days": 1}, "2026-11-27T09:30", "2026-11-28T09:30"),
    ({"start": "2026-07-01", "end": "2026-09-30"}, "2026-07-01T00:00", "2026-10-01T00:00"),
    ({"start": "2026-09-30", "end": "2026-09-30"}, "2026-09-30T00:00", "2026-10-01T00:00"),
    ({"start": "2026-07-01"}, "2026-07-01T00:00", "2026-11-28T09:30"),
    ({"start": "2026-07-01T12:00:00+02:00", "end": "2026-07-02T00:00:00Z"}, "2026-07-01T10:00", "2026-07-02T00:00"),
    ({"start": "2026-07-01", "end": "2026-07-01", "zone": "Europe/Berlin"}, "2026-06-30T22:00", "2026-07-01T22:00"),
    ({"quarter": "2026Q3"}, "2026-07-01T00:00", "2026-10-01T00:00"),
    ({"quarter": "2025-q4"}, "2025-10-01T00:00", "2026-01-01T00:00"),
    ({"quarter": "last"}, "2026-07-01T00:00", "2026-10-01T00:00"),
    ({"quarter": "2026Q4"}, "2026-10-01T00:00", "2026-11-28T09:30"),
    ({"quarter": "2026Q1", "zone": "America/New_York"}, "2026-01-01T05:00", "2026-04-01T04:00"),
]  # fmt: skip

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"start": "2026-07-02", "end": "2026-07-01"}, "from", "not before --to"),
    ({"start": "2026-07-01T00:00:00Z", "end": "2026-07-01T00:00:00Z"}, "to", "the same time"),
    ({"days": 10**12}, "days", "give 1 to 36,525"),
    ({"days": 0}, "days", "give 1 to 36,525"),
    ({"start": "0001-01-01T00:00:00+14:00"}, "from", "at an end of the calendar.*give one from 1700"),
    ({"start": "yesterday"}, "from", "neither a day"),
    ({"start": "2026-02-30"}, "from", "neither a day"),
    ({"start": "2026-07-01T12:00:00"}, "from", "with its zone"),
    ({"start": "2026-07-01", "end": "9999-12-31"}, "to", "at an end of the calendar"),
    ({"end": "2026-07-01"}, "from", "without --from"),
    ({"start": "2027-01-01"}, "from", "not before --to now"),
    ({"start": "2027-01-01", "end": "2027-02-01"}, "from", "lies ahead"),
    ({"quarter": "2026Q5"}, "quarter", "write 2026Q3, or last"),
    ({"quarter": "0001Q1", "zone": "Asia/Tokyo"}, "quarter", "at an end of the calendar"),
    ({"quarter": "Q3"}, "quarter", "write 2026Q3, or last"),
    ({"quarter": "2027Q1"}, "quarter", "has not begun"),
    ({"quarter": "2026Q3", "start": "2026-07-01"}, "quarter", "exclude each other"),
    ({"quarter": "2026Q3", "end": "2026-07-01"}, "to", "exclude each other"),
    ({"quarter": "2026Q3", "days": 3}, "days", "exclude each other"),
    ({"start": "2026-07-01", "zone": "Mars"}, "zone", "Europe/Berlin"),
    ({"zone": "../etc"}, "zone", "Europe/Berlin"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "begin", "end"), PERIODS, ids=str)
def test_a_period_begins_and_ends_where_the_options_say(options: dict[str, Any], begin: str, end: str) -> None:
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in period(NOW, **options)] == [begin, end]


@pytest.mark.parametrize(("options", "field", "words"), REFUSED, ids=str)
def test_an_option_that_gives_no_period_is_named(options: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as refused:
        period(NOW, **options)
    assert refused.value.facts["field"] == field


def test_the_last_quarter_in_january_is_that_of_the_year_before() -> None:
    begin, end = period(datetime(2026, 1, 5, tzinfo=UTC), quarter="last")
    assert (begin, end) == (datetime(2025, 10, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))

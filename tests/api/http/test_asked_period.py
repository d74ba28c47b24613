"""The period that the address of a page asks for."""

from datetime import UTC, datetime

import pytest

from api.http.periods import asked_period
from core.errors import InvalidError
from reports.charts.text import utc

NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize("begin", ["2026-01-02", "2026-02-01", "2026-01-02T00:00:00Z"])
def test_days_the_wrong_way_round_are_named_as_they_were_given(begin: str) -> None:
    with pytest.raises(InvalidError, match=f"from {begin} is after to 2026-01-01; swap them"):
        asked_period(begin, "2026-01-01", NOW)


def test_a_first_day_that_is_the_last_is_a_whole_day() -> None:
    since, until = asked_period("0001-01-01", "0001-01-01", NOW)
    assert (until - since).days == 1
    assert utc(since) == "0001-01-01 00:00 UTC"

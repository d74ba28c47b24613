"""Time zones by name, and hours of the day in them."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from core.zones import next_open, zone_of

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(22), time(6))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"), ("berlin", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"), ("utc", "did you mean UTC?"),
        ("Asia/Calcuta", "did you mean Asia/Calcutta?"), ("CEST", "write a place"), ("GMT+2", "write a place"),
        ("Mars/Phobos", "write a place"), ("", "write a place"), ("../../etc/passwd", "write a place"),
        ("x" * 500, "write a place"),
    ],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_the_name_that_was_meant(name: str, words: str) -> None:
    with pytest.raises(ValueError, match="no time zone of the name") as refused:
        zone_of(name)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_zone_that_differs_between_machines_is_never_meant() -> None:
    with pytest.raises(ValueError, match="no time zone") as refused:
        zone_of("Localtime")
    assert "mean localtime" not in str(refused.value)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "days", "now", "opens"),
    [
        (NIGHT, None, "2026-01-05T22:00", "2026-01-05T22:00"),  # 23:00 in Berlin
        (NIGHT, None, "2026-01-05T04:59", "2026-01-05T04:59"), (NIGHT, None, "2026-01-05T05:00", "2026-01-05T21:00"),
        (NIGHT, None, "2026-07-01T12:00", "2026-07-01T20:00"),  # summer time
        (NIGHT, {4}, "2026-01-10T03:00", "2026-01-10T03:00"),  # the hours of Friday last into Saturday
        (NIGHT, {4}, "2026-01-10T12:00", "2026-01-16T21:00"),
        ((time(2, 30), time(4)), None, "2026-03-29T00:30", "2026-03-29T01:00"),  # 02:30 is skipped
        ((time(2, 30), time(4)), None, "2026-10-25T00:00", "2026-10-25T00:30"),  # the first of two
        (None, {0}, "2026-01-06T12:00", "2026-01-11T23:00"),
    ],
)  # fmt: skip
def test_hours_open_at_the_right_moment_over_midnight_and_changes_of_the_clock(
    hours: tuple[time, time] | None, days: set[int] | None, now: str, opens: str
) -> None:
    assert next_open(hours, days, BERLIN, at(now)) == at(opens)

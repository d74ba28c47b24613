"""When a channel may be used: hours and days in its own zone, and the hour of a digest."""

from datetime import UTC, datetime

import pytest

from core.settings import RouteSettings
from monitor.notify import routing

ZURICH = {"hours": "08:00-18:00", "days": "mon-fri", "zone": "Europe/Zurich"}


@pytest.mark.parametrize(
    ("route", "at", "opens"),
    [
        (ZURICH, datetime(2026, 1, 5, 12), datetime(2026, 1, 5, 12)),  # a Monday noon
        (ZURICH, datetime(2026, 1, 5, 5), datetime(2026, 1, 5, 7)),  # before eight in Zurich
        (ZURICH, datetime(2026, 1, 9, 17), datetime(2026, 1, 12, 7)),  # Friday after hours
        (ZURICH, datetime(2026, 3, 28, 12), datetime(2026, 3, 30, 6)),  # over the change to summer time
        ({"hours": "22:00-06:00"}, datetime(2026, 1, 5, 3), datetime(2026, 1, 5, 3)),  # a night that began yesterday
        ({"hours": "22:00-06:00"}, datetime(2026, 1, 5, 7), datetime(2026, 1, 5, 22)),
        ({"days": "sat-sun"}, datetime(2026, 1, 5, 7), datetime(2026, 1, 10)),
    ],
)
def test_outside_its_hours_a_message_waits_for_them(route: dict[str, str], at: datetime, opens: datetime) -> None:
    found = routing.next_open(RouteSettings.model_validate(route), at.replace(tzinfo=UTC))
    assert found == opens.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("digest", "at", "due"),
    [
        ("daily", datetime(2026, 1, 5, 3), datetime(2026, 1, 5, 7)),
        ("daily", datetime(2026, 1, 5, 7), datetime(2026, 1, 6, 7)),
        ("weekly", datetime(2026, 1, 5, 8), datetime(2026, 1, 12, 7)),
    ],
)
def test_a_digest_is_due_at_its_hour(digest: str, at: datetime, due: datetime) -> None:
    route = RouteSettings.model_validate({"digest": digest})
    assert routing.next_digest(route, 7, at.replace(tzinfo=UTC)) == due.replace(tzinfo=UTC)

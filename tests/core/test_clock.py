"""The clock behind an interface."""

from datetime import UTC, datetime, timedelta, timezone

from core.clock import ManualClock, SystemClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_system_clock_gives_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert before <= now <= datetime.now(UTC)


def test_a_manual_clock_stands_still_until_moved() -> None:
    clock = ManualClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.move_to(NOON + timedelta(hours=1))
    assert clock.now() == NOON + timedelta(hours=1)


def test_a_manual_clock_never_moves_backwards() -> None:
    clock = ManualClock(NOON)
    clock.move_to(NOON - timedelta(days=1))
    assert clock.now() == NOON


def test_a_manual_clock_speaks_utc_whatever_zone_it_was_set_in() -> None:
    clock = ManualClock(NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC

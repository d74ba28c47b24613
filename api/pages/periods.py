"""Days of a filter as times in UTC."""

from datetime import UTC, date, datetime, time, timedelta


def from_day(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def after_day(day: date) -> datetime:
    """The moment at which a day ends; of the last day there is, its last moment."""
    return from_day(day) + timedelta(days=1) if day < date.max else datetime.max.replace(tzinfo=UTC)

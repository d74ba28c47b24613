"""Times of files: numbers since 1970 and times without a zone, read as the user says."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from core.errors import InvalidError
from monitor.ingest.times import check_reading, read_time, read_times

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())

READ: list[tuple[str, Any, datetime | None]] = [
    ("epoch_s", SECONDS, NOON), ("epoch_s", SECONDS + 0.25, NOON.replace(microsecond=250_000)),
    ("epoch_s", str(SECONDS), NOON),
    ("epoch_ms", SECONDS * 1000, NOON), ("epoch_us", SECONDS * 10**6, NOON), ("epoch_ns", SECONDS * 10**9 + 999, NOON),
    ("epoch_ms", "soon", None), ("epoch_s", True, None), ("UTC", "2026-07-01 12:00:00", NOON),
    ("UTC", "2026-07-01T12:00", NOON),
    ("Europe/Berlin", "2026-07-01 14:00:00", NOON), ("Europe/Berlin", datetime(2026, 7, 1, 14), NOON),
    ("Europe/Berlin", "2026-07-01T12:00:00Z", NOON), ("Europe/Berlin", NOON, NOON),
    ("UTC", "2026-07-01", NOON.replace(hour=0)),
    ("UTC", date(2026, 7, 1), NOON.replace(hour=0)), ("Europe/Berlin", "2026-03-29 02:30:00", None),
    ("UTC", "noon", None),
    ("UTC", 5, None), ("Europe/Berlin", "2026-10-25 02:30:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
]  # fmt: skip


@pytest.mark.parametrize(("reading", "value", "expected"), READ, ids=[f"{c[0]}-{c[1]}" for c in READ])
def test_a_value_is_the_time_that_its_unit_or_zone_says(reading: str, value: Any, expected: datetime | None) -> None:
    assert read_times(pl.Series("ts", [value, None]), reading).to_list() == [expected, None]
    if not isinstance(value, date | bool):
        assert read_time(value, reading) == (value if expected is None else expected.isoformat())


def test_what_is_neither_a_unit_nor_a_zone_is_refused() -> None:
    assert [check_reading(text) for text in ("UTC", "epoch_ms")] == ["UTC", "epoch_ms"]
    for text in ("ms", "Mars/Base", "../etc/passwd", "/"):
        with pytest.raises(InvalidError, match="neither a unit"):
            check_reading(text)

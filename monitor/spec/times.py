"""Windows of time: where they begin and end, and when one counts as over."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.spec.duration import duration

DAY: Final = timedelta(days=1)
# Events may come this late before a stretch of time counts as over.
GRACE_PERIOD: Final = timedelta(minutes=1)
# A reference spans at least this many blocks, however many rows come in the first.
MIN_REFERENCE_BLOCKS: Final = 2
# A window of rows is cut in this many blocks, and its reference in blocks of the same number of rows.
BLOCKS_PER_WINDOW: Final = 10
# Days are profiled in quarters: where quarters show no effect of their day, a window of one day is ranked among them.
QUARTERS_PER_DAY: Final = 4


def block_length(windows: Sequence[str]) -> timedelta:
    """Length of one block of time: the shortest window, at most a day."""
    return min([DAY, *(duration(w) for w in windows)])


def reference_time(windows: Sequence[str]) -> timedelta:
    """Time that a reference of the first rows spans at least."""
    return MIN_REFERENCE_BLOCKS * block_length(windows)


def window_times(origin: datetime, scale: str, number: int) -> tuple[datetime, datetime]:
    """Begin and end of a window of a scale, such as `1d`.

    The first one begins with the block of time, at most a day long, that `origin` falls in, counted from 1970 in UTC.
    """
    length = duration(scale)
    block = min(DAY, length).total_seconds()
    start = datetime.fromtimestamp(origin.timestamp() // block * block, tz=UTC) + number * length
    return start, start + length


def profile_parts(windows: Sequence[str]) -> int:
    """Profile blocks in one block of time."""
    return QUARTERS_PER_DAY if block_length(windows) == DAY else 1

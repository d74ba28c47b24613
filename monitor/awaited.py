"""What an evaluation of a model waits for, so that none is asked for while it could find nothing new."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from monitor import store
from monitor.acceptance import when
from monitor.news import News
from monitor.schema import RowWindow, span
from monitor.service import current_spec
from monitor.times import GRACE, window_times

MANY_ROWS: Final = 10_000  # so many are worth profiling before their window closes


@dataclass(frozen=True, slots=True)
class Awaited:
    """The least that can close a window of a model or make its reference whole."""

    seq: int | None  # so many events, counted from its first
    ts: datetime | None  # an event of this time or later, and the clock GRACE past it
    late_before: datetime | None  # an event of an earlier time belongs to a window that is closed, or moves the first
    first: str | None  # or the end of the first window, so long, of the first event: nobody has looked for it yet

    def is_there(self, news: News, now: datetime) -> bool:
        """Whether a window can be closed, or enough has come to go on with profiling."""
        if (self.seq is not None and news.next_seq >= self.seq) or news.rows >= MANY_ROWS:
            return True
        if news.low_ts is None or news.high_ts is None:
            return False
        ends = [] if self.ts is None else [self.ts]
        if self.first is not None:
            ends.append(window_times(when(news.low_ts), self.first, 0)[1])
        return any(when(news.high_ts) >= end and now >= end + GRACE for end in ends)

    def is_disturbed(self, news: News) -> bool:
        """Whether what is judged already has to be looked at again: its outcomes came, or rows of it."""
        if news.other:
            return True
        return self.late_before is not None and news.low_ts is not None and when(news.low_ts) < self.late_before


def awaited(db: Session, model_name: str) -> Awaited:
    """Read it of the database; it holds until an evaluation closes something or the spec changes.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    current = current_spec(db, model_name)
    row = store.newest_baseline(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    monitors, baseline = current.spec.monitors, current.spec.baseline
    closed = {scale: store.windows_count(db, row.id, scale) for scale in monitors.scales}
    numbers, times = list[int](), list[datetime]()
    late_before, first = None, None
    if current.model.silent_seq is not None:  # its silence is over with the next row
        numbers.append(current.model.silent_seq + 1)
    if row.state == "collecting":
        if baseline.first_rows is not None:
            numbers.append(row.from_seq + baseline.first_rows)
        if baseline.range is not None:
            times.append(baseline.range.to)
    if isinstance(monitors.windows, RowWindow):
        numbers += [row.from_seq + (number + 1) * monitors.windows.rows for number in closed.values()]
    elif row.origin_ts is None:
        first = min(monitors.scales, key=span)
    else:
        spans = [window_times(row.origin_ts, scale, number) for scale, number in closed.items()]
        times += [end for _, end in spans]
        late_before = max(start for start, _ in spans) if any(closed.values()) else row.origin_ts
    return Awaited(min(numbers, default=None), min(times, default=None), late_before, first)

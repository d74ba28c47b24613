"""What an evaluation of a model waits for, so that none is asked for while it could find nothing new."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from monitor import store
from monitor.events.arrivals import Arrivals
from monitor.events.wal_records import from_micros
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.monitors import RowWindow
from monitor.spec.times import GRACE_PERIOD, reference_time, window_times
from monitor.tables import BaselineRow

MANY_ROWS: Final = 10_000  # so many are worth profiling before their window closes


@dataclass(frozen=True, slots=True)
class Mark:
    """So many events, counted from the model's first, and one of this time or later with the clock GRACE past it."""

    seq: int = 0
    ts: datetime | None = None

    def is_reached(self, news: Arrivals, now: datetime) -> bool:
        if self.ts is None:
            return news.next_seq >= self.seq
        latest = None if news.high_ts is None else from_micros(news.high_ts)
        return news.next_seq >= self.seq and latest is not None and latest >= self.ts and now >= self.ts + GRACE_PERIOD


@dataclass(frozen=True, slots=True)
class Awaited:
    """The least that can close a window of a model or make its reference whole."""

    marks: tuple[Mark, ...]
    late_before: datetime | None  # an event of an earlier time belongs to a window that is closed, or moves the first
    first: str | None  # or the end of the first window, so long, of the first event: nobody has looked for it yet

    def is_there(self, news: Arrivals, now: datetime) -> bool:
        """Whether a window can be closed, or enough has come to go on with profiling."""
        if news.rows >= MANY_ROWS or any(mark.is_reached(news, now) for mark in self.marks):
            return True
        if self.first is None or news.low_ts is None:
            return False
        return Mark(ts=window_times(from_micros(news.low_ts), self.first, 0)[1]).is_reached(news, now)

    def is_disturbed(self, news: Arrivals) -> bool:
        """Whether what is judged already has to be looked at again: its outcomes came, or rows of it."""
        if news.outcomes:
            return True
        return self.late_before is not None and news.low_ts is not None and from_micros(news.low_ts) < self.late_before


def awaited(site: Site, db: Session, model_name: str) -> Awaited:
    """Read it of the database; it holds until an evaluation closes something or the spec changes.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    current = current_spec(site, db, model_name)
    row = store.newest_baseline(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    monitors = current.spec.monitors
    closed = {scale: store.windows_count(db, row.id, scale) for scale in monitors.scales}
    marks = _of_the_reference(current, row)
    if current.model.silent_seq is not None:  # its silence is over with the next row
        marks.append(Mark(current.model.silent_seq + 1))
    if isinstance(monitors.windows, RowWindow):
        marks += [Mark(row.from_seq + (number + 1) * monitors.windows.rows) for number in closed.values()]
        return Awaited(tuple(marks), None, None)
    if row.origin_ts is None:
        return Awaited(tuple(marks), None, min(monitors.scales, key=duration))
    spans = [window_times(row.origin_ts, scale, number) for scale, number in closed.items()]
    marks += [Mark(ts=end) for _, end in spans]
    late_before = max(start for start, _ in spans) if any(closed.values()) else row.origin_ts
    return Awaited(tuple(marks), late_before, None)


def _of_the_reference(current: CurrentSpec, row: BaselineRow) -> list[Mark]:
    """One that cannot be fitted is tried again by the scheduler's looks alone."""
    baseline, windows = current.spec.baseline, current.spec.monitors.windows
    if row.state != "collecting" or row.problem is not None:
        return []
    if baseline.range is not None:
        return [Mark(ts=baseline.range.to)]
    if baseline.first_rows is None:
        return []
    whole = row.from_seq + baseline.first_rows
    if isinstance(windows, RowWindow) or row.origin_ts is None:
        return [Mark(whole)]
    return [Mark(whole, row.origin_ts + reference_time(windows))]

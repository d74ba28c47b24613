"""What the next evaluation of a model waits for, so that none is requested while it could find nothing new."""

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
from monitor.spec.times import GRACE_PERIOD, next_sample, reference_time, window_times
from monitor.tables import ReferenceRow
from monitor.windows.numbering import next_number, row_window_seqs

MIN_ROWS_TO_PROFILE: Final = 10_000  # new rows that are worth profiling before their window closes


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number of events that must have arrived, and a time that an event and the clock must have reached.

    Attributes:
        seq: number of events, counted from the model's first.
        ts: time that an event must have reached, and the clock must have passed by GRACE_PERIOD; None where only the
            number of events counts.
    """

    seq: int = 0
    ts: datetime | None = None

    def is_reached(self, arrivals: Arrivals, now: datetime) -> bool:
        if self.ts is None:
            return arrivals.next_seq >= self.seq
        latest = None if arrivals.high_ts is None else from_micros(arrivals.high_ts)
        return (
            arrivals.next_seq >= self.seq and latest is not None and latest >= self.ts and now >= self.ts + GRACE_PERIOD
        )


@dataclass(frozen=True, slots=True)
class WakeCondition:
    """The smallest arrival that can close a window of a model, complete its reference or change a closed window.

    Attributes:
        thresholds: reaching any of them allows a window to close or the reference to be completed.
        late_before: an event before this time belongs to a closed window, or moves the start of the first one.
        first_window: length of the first window while no evaluation has fixed its start; the first event starts it.
    """

    thresholds: tuple[Threshold, ...]
    late_before: datetime | None
    first_window: str | None

    def can_close(self, arrivals: Arrivals, now: datetime) -> bool:
        """Whether a window can close, the reference can be completed, or enough rows wait to be profiled."""
        if arrivals.rows >= MIN_ROWS_TO_PROFILE or any(one.is_reached(arrivals, now) for one in self.thresholds):
            return True
        if self.first_window is None or arrivals.low_ts is None:
            return False
        return Threshold(ts=window_times(from_micros(arrivals.low_ts), self.first_window, 0)[1]).is_reached(
            arrivals, now
        )

    def has_late_rows(self, arrivals: Arrivals) -> bool:
        """Whether closed windows must be evaluated again, because rows of outcomes or late events arrived for them."""
        if arrivals.outcomes:
            return True
        return (
            self.late_before is not None
            and arrivals.low_ts is not None
            and from_micros(arrivals.low_ts) < self.late_before
        )


def wake_condition(site: Site, db: Session, model_name: str) -> WakeCondition:
    """Read the wake condition from the database; it holds until an evaluation closes a window or the spec changes.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    current = current_spec(site, db, model_name)
    row = store.newest_reference(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    monitors = current.spec.monitors
    closed = {scale: next_number(db, row, scale) for scale in monitors.scales}
    thresholds = _reference_thresholds(current, row, site.events.extent(model_name).next_seq)
    if current.model.silent_seq is not None:  # the next row ends an announced silence
        thresholds.append(Threshold(current.model.silent_seq + 1))
    if isinstance(monitors.window_lengths, RowWindow):
        length = monitors.window_lengths.rows
        thresholds += [Threshold(row_window_seqs(row, length, number)[1]) for number in closed.values()]
        return WakeCondition(tuple(thresholds), None, None)
    if row.origin_ts is None:
        first = min(monitors.scales, key=duration, default=None)
        return WakeCondition(tuple(thresholds), None, first)
    open_windows = [window_times(row.origin_ts, scale, number) for scale, number in closed.items()]
    thresholds += [Threshold(ts=end) for _, end in open_windows]
    late_before = max(start for start, _ in open_windows) if any(closed.values()) else row.origin_ts
    return WakeCondition(tuple(thresholds), late_before, None)


def _reference_thresholds(current: CurrentSpec, row: ReferenceRow, next_seq: int) -> list[Threshold]:
    """Arrivals that complete the reference. Only the scheduler's evaluations retry one that could not be fitted."""
    baseline, windows = current.spec.fixed_baseline, current.spec.monitors.window_lengths
    if row.state != "collecting" or row.problem is not None:
        return []
    if windows == ():  # their lengths are chosen at the next doubling of 400 rows
        return [Threshold(row.from_seq + next_sample(next_seq - row.from_seq))]
    if baseline is not None and baseline.range is not None:
        return [Threshold(ts=baseline.range.to)]
    if current.spec.first_rows is None:  # an automatic reference ends with a window
        return []
    end_seq = row.from_seq + current.spec.first_rows
    if isinstance(windows, RowWindow) or row.origin_ts is None:
        return [Threshold(end_seq)]
    return [Threshold(end_seq, row.origin_ts + reference_time(windows))]

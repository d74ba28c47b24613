"""Close a window: decide whether it is due, collect its rows, judge it and store the verdict."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import polars as pl

from monitor.reference.far_rows import far_from_the_rest
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.spec.times import GRACE_PERIOD, window_times
from monitor.tables import ReferenceRow, Window
from monitor.windows.judge import DueWindow, judge_window
from monitor.windows.numbering import row_window_seqs
from monitor.windows.record import record
from monitor.windows.stored_levels import with_levels

# A time window closes once the clock is GRACE_PERIOD past its end, if a later event has arrived or no event has
# arrived for this long.
CLOSE_AFTER_QUIET: Final = timedelta(minutes=5)


def next_bounds(site: Site, current: CurrentSpec, row: ReferenceRow, scale: str, number: int) -> tuple[Any, Any] | None:
    """Start and end of the next window of one length, as sequence numbers or times; None while it cannot be closed."""
    windows = current.spec.monitors.window_lengths
    extent = site.events.extent(current.model.name)
    if isinstance(windows, RowWindow):
        from_seq, to_seq = row_window_seqs(row, windows.rows, number)
        return None if extent.next_seq < to_seq else (from_seq, to_seq)
    first = row.origin_ts
    if first is None or extent.last_ts is None or extent.last_received_at is None:
        return None
    (start, end), now = window_times(first, scale, number), site.clock.now()
    arrived = extent.last_ts >= end or now - extent.last_received_at >= CLOSE_AFTER_QUIET
    return None if now < end + GRACE_PERIOD or not arrived or start > extent.last_ts else (start, end)


def due(site: Site, current: CurrentSpec, row: ReferenceRow, scale: str, number: int) -> DueWindow | None:
    """The next window of one length with its rows; None while it cannot be closed."""
    found = next_bounds(site, current, row, scale, number)
    if found is None:
        return None
    (start, end), name = found, current.model.name
    if isinstance(current.spec.monitors.window_lengths, RowWindow):
        frame = with_levels(current.spec, site.events.events(name, from_seq=start, to_seq=end))
        if row.to_seq is None or start < row.to_seq:  # a row of long ago is in no reference, and would date its window
            frame = frame.filter(pl.Series(~far_from_the_rest(frame["ts"]), dtype=pl.Boolean))
        now = site.clock.now()  # where the lake lost all rows of the window
        times = (now, now) if frame.is_empty() else (frame["ts"].min(), frame["ts"].max())
        return DueWindow(scale, number, start, end, *times, frame)  # type: ignore[arg-type]  # times
    rows = site.events.scan(name, from_seq=row.from_seq, from_ts=start, to_ts=end)
    frame = with_levels(current.spec, rows.sort("seq").collect())
    return time_window(scale, number, (start, end), frame, none_at=site.events.extent(name).next_seq)


def time_window(
    scale: str, number: int, times: tuple[datetime, datetime], frame: pl.DataFrame, *, none_at: int
) -> DueWindow:
    """A time window and its rows.

    Args:
        none_at: sequence number at which a window without rows is placed: one past every event so far.
    """
    if frame.is_empty():
        return DueWindow(scale, number, none_at, none_at, *times, frame)
    first, last = int(frame["seq"].min()), int(frame["seq"].max())  # type: ignore[arg-type]  # not null
    return DueWindow(scale, number, first, last + 1, *times, frame)


def close_window(site: Site, current: CurrentSpec, row: ReferenceRow, window: DueWindow, reached: int) -> UUID:
    """Judge one window, and record its verdict, numbers and alerts in one transaction.

    Args:
        reached: one past the last event that the stored profiles hold.

    Returns:
        Id of the stored window.
    """
    found = judge_window(site, current, row, window)
    now = site.clock.now()
    with site.database.write() as db:
        stored = Window(
            model_id=current.model.id, baseline_id=row.id, spec_revision=current.revision, scale=window.scale,
            number=window.number, from_seq=window.from_seq, to_seq=window.to_seq, from_ts=window.from_ts,
            to_ts=window.to_ts, rows=window.frame.height, versions=window.frame["version"].unique().sort().to_list(),
            verdict="unknown", sentence="", decision=found.decision, judged_seq=reached,
            events_version=site.events.extent(current.model.name).events_version, closed_at=now, refreshed_at=now,
            **found.outcomes,
        )  # fmt: skip
        db.add(stored)
        db.flush()
        record(site, db, current.model, stored, found.readings, groups=found.groups)
        return stored.id

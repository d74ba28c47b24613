"""Count the rows that lie in no window: before the first one, or still waiting for the next."""

from dataclasses import dataclass

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.monitors import RowWindow
from monitor.spec.times import window_times
from monitor.tables import ReferenceRow
from monitor.windows.numbering import next_number, row_window_seqs


@dataclass(frozen=True, slots=True)
class OutsideRows:
    """Rows in no window. `never`: no window will hold them. `waiting`: the next windows will, once they close."""

    never: int
    waiting: int


def rows_in_no_window(site: Site, db: Session, current: CurrentSpec, row: ReferenceRow) -> OutsideRows:
    """Rows since the reference began that no closed window of the shortest length holds.

    Of time windows, those older than the first window are never held. Of windows of rows, those between the last window
    that ends before the reference does and the end of the reference are not.
    """
    windows, extent = current.spec.monitors.window_lengths, site.events.extent(current.model.name)
    if isinstance(windows, RowWindow):
        begin, _ = row_window_seqs(row, windows.rows, next_number(db, row, current.spec.monitors.scales[0]))
        return OutsideRows(before_windows(row, windows.rows), max(0, extent.next_seq - begin))
    if not windows or row.origin_ts is None:
        return OutsideRows(0, max(0, extent.next_seq - row.from_seq))
    shortest = min(windows, key=duration)
    # References that follow each other on the same rows share their first windows.
    same = select(func.min(ReferenceRow.origin_ts)).where(
        ReferenceRow.model_id == row.model_id, ReferenceRow.from_seq == row.from_seq
    )
    start, _ = window_times(db.scalar(same) or row.origin_ts, shortest, 0)
    open_at, _ = window_times(row.origin_ts, shortest, next_number(db, row, shortest))
    name = current.model.name
    never = site.events.scan(name, from_seq=row.from_seq, to_ts=start)  # by time, so that few files are read
    waiting = site.events.scan(name, from_seq=row.from_seq, from_ts=open_at)
    return OutsideRows(*(int(rows.select(pl.len()).collect().item()) for rows in (never, waiting)))


def before_windows(row: ReferenceRow, length: int) -> int:
    """Rows of a reference that no window of rows holds, because windows begin anew after its end."""
    return 0 if row.windows_seq is None else (row.windows_seq - row.from_seq) % length


def outside_sentence(found: OutsideRows, *, by_rows: bool) -> str:
    """What is said of rows that no window will ever hold; empty where there are none."""
    if not found.never:
        return ""
    rows, they = ("1 row lies", "it is") if found.never == 1 else (f"{found.never:,} rows lie", "they are")
    if by_rows:
        return f"{rows} in no window, because windows begin anew after the last row of the reference."
    return f"{rows} in no window, because {they} older than the first window."

"""Which window comes next, and which events a window of rows holds."""

from sqlalchemy.orm import Session

from monitor import store
from monitor.spec.times import window_times
from monitor.tables import ReferenceRow


def next_number(db: Session, row: ReferenceRow, scale: str) -> int:
    """Number of the next window of one length: the one after the last, or the first after a long pause without rows."""
    after = store.next_window_number(db, row.id, scale)
    if row.windows_ts is None or row.origin_ts is None:
        return after
    start, end = window_times(row.origin_ts, scale, 0)
    return max(after, (row.windows_ts - start) // (end - start))


def row_window_seqs(row: ReferenceRow, length: int, number: int) -> tuple[int, int]:
    """The first event of a window of rows, and one past its last.

    Windows are counted from the first event that may enter the reference. They begin anew after its last row, so that
    none holds rows of the reference and later ones.

    Args:
        length: rows in one window.
        number: of the window, from 0 on.
    """
    begin = row.from_seq + number * length
    if row.windows_seq is not None:
        whole = (row.windows_seq - row.from_seq) // length  # windows that end before the reference does
        if number >= whole:
            begin = row.windows_seq + (number - whole) * length
    return begin, begin + length

"""Leave out the empty windows of a long pause, so that time without rows costs nothing however long it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from monitor.reference.far_rows import MIN_PAUSE
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import ReferenceRow
from monitor.windows.judge import DueWindow

MAX_EMPTY: Final = 100  # windows of the shortest length that are recorded of one stretch without rows
MAX_FIRST_ROWS: Final = 20  # rows before a pause that are not taken for traffic, where a dataset is the reference


def skip_pause(site: Site, current: CurrentSpec, row: ReferenceRow, ready: Sequence[DueWindow]) -> bool:
    """Leave out windows without rows that lie in a long pause: before the rows of the reference, or anywhere.

    Before the reference, a single row that arrived long before the others would be followed by hundreds of empty
    windows. Anywhere else, the first windows of a pause are recorded, so that it can be seen and alarms.

    Args:
        ready: the windows of every length that could close now.

    Returns:
        Whether windows were left out; `next_number` then names later ones.
    """
    if not ready or any(window.frame.height for window in ready):
        return False
    begin = min(window.from_ts for window in ready)
    if not (_lies_before_reference(site, current, row, begin) or _is_long_empty(site, current, row, ready)):
        return False
    rows = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=begin)
    following: Any = rows.select(pl.col("ts").min()).collect().item()
    shortest = min(window.to_ts - window.from_ts for window in ready)
    if following is None or following < begin + shortest:
        return False
    with site.database.write() as db:
        db.get_one(ReferenceRow, row.id, with_for_update=True).windows_ts = following
    return True


def _is_long_empty(site: Site, current: CurrentSpec, row: ReferenceRow, ready: Sequence[DueWindow]) -> bool:
    """Whether as many windows of the shortest length as are recorded of a pause lie between the last row and these."""
    shortest = min(ready, key=lambda window: window.to_ts - window.from_ts)
    if shortest.number < MAX_EMPTY:
        return False
    begin = shortest.from_ts - MAX_EMPTY * (shortest.to_ts - shortest.from_ts)
    rows = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=begin, to_ts=shortest.from_ts)
    return bool(rows.select(pl.len()).collect().item() == 0)


def _lies_before_reference(site: Site, current: CurrentSpec, row: ReferenceRow, begin: datetime) -> bool:
    """Whether a pause of a week or more lies before the rows of the reference."""
    if row.state == "ready" and row.from_ts is not None and begin >= row.from_ts:
        return False
    if row.state == "ready" and row.from_ts is None:  # a dataset: only the first few rows may lie far from the rest
        before = site.events.scan(current.model.name, from_seq=row.from_seq, to_ts=begin)
        if before.select(pl.len()).collect().item() > MAX_FIRST_ROWS:
            return False
    rows = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=begin)
    following: Any = rows.select(pl.col("ts").min()).collect().item()
    return following is not None and following - begin >= MIN_PAUSE

"""Leave out the empty windows of a long pause before a reference begins."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from monitor.reference.far_rows import MIN_PAUSE
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import ReferenceRow
from monitor.windows.judge import DueWindow

MAX_FIRST_ROWS: Final = 20  # rows before a pause that are not taken for traffic, where a dataset is the reference


def skip_pause(site: Site, current: CurrentSpec, row: ReferenceRow, ready: Sequence[DueWindow]) -> bool:
    """Leave out windows without rows that lie in a long pause before the rows of the reference.

    A single row that arrived long before the others would otherwise be followed by hundreds of empty windows.

    Args:
        ready: the windows of every length that could close now.

    Returns:
        Whether windows were left out; `next_number` then names later ones.
    """
    if not ready or any(window.frame.height for window in ready):
        return False
    begin = min(window.from_ts for window in ready)
    if row.state == "ready" and row.from_ts is not None and begin >= row.from_ts:
        return False
    if row.state == "ready" and row.from_ts is None:  # a dataset: only the first few rows may lie far from the rest
        before = site.events.scan(current.model.name, from_seq=row.from_seq, to_ts=begin)
        if before.select(pl.len()).collect().item() > MAX_FIRST_ROWS:
            return False
    rows = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=begin)
    following: Any = rows.select(pl.col("ts").min()).collect().item()
    if following is None or following - begin < MIN_PAUSE:
        return False
    with site.database.write() as db:
        db.get_one(ReferenceRow, row.id, with_for_update=True).windows_ts = following
    return True

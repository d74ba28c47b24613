"""The time from which the windows of a reference are counted."""

from datetime import datetime

import polars as pl

from monitor.reference.far_rows import MIN_PAUSE, far_from_the_rest
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.monitors import RowWindow
from monitor.spec.times import window_times
from monitor.tables import ReferenceRow


def fix_origin(site: Site, current: CurrentSpec, row: ReferenceRow) -> None:
    """Store the time of the first event, from which time windows are counted.

    Call this until the first window has closed. Until then an earlier event that arrives out of order still moves the
    origin back; afterwards it no longer does. An event whose time lies far from the rest is not the first one.
    """
    name = current.model.name
    extent = site.events.extent(name)
    if row.windows is not None or row.begins_at is not None:
        return  # windows that are chosen from the traffic, or follow an automatic reference, keep their start
    if extent.next_seq <= row.from_seq or extent.first_ts is None or extent.last_ts is None:
        return
    if row.origin_ts is not None and not _origin_may_move(
        site, current, row.origin_ts, extent.first_ts, extent.last_ts
    ):
        return
    times = site.events.scan(name, from_seq=row.from_seq).select("ts").collect()["ts"]
    far, fixed = pl.Series(far_from_the_rest(times)), current.spec.fixed_baseline
    if fixed is not None and fixed.range is not None:  # the user named the times that count
        far &= (times < fixed.range.from_) | (times >= fixed.range.to)
    first = times.filter(~far).min()
    if first is not None and first != row.origin_ts:
        with site.database.write() as db:
            db.get_one(ReferenceRow, row.id, with_for_update=True).origin_ts = first  # type: ignore[assignment]  # a time


def _origin_may_move(site: Site, current: CurrentSpec, origin: datetime, first: datetime, last: datetime) -> bool:
    """Whether the rows must be looked at again: an earlier one arrived, or the first may lie far from the rest.

    Neither matters before a window can close.
    """
    windows = current.spec.monitors.window_lengths
    if isinstance(windows, RowWindow) or not windows:
        return first < origin
    if origin <= first and last - first < MIN_PAUSE:
        return False
    return site.clock.now() >= window_times(min(origin, first), min(windows, key=duration), 0)[1]

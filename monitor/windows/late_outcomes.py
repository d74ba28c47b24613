"""Find the windows whose outcomes arrived, or changed, after the numbers of those windows were computed."""

from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import polars as pl

from monitor import store
from monitor.service import CurrentSpec
from monitor.site import Site

MAX_ROWS_PER_READ: Final = 200_000  # rows of outcomes


class WindowBounds(Protocol):
    """The scale and the times of a window, stored or not."""

    @property
    def scale(self) -> str: ...
    @property
    def from_ts(self) -> datetime: ...
    @property
    def to_ts(self) -> datetime: ...


def in_window(window: WindowBounds) -> pl.Expr:
    """Whether an event lies in the times of a window.

    Sequence numbers alone do not decide that, because those of late events lie among those of later windows. A window
    of rows includes its last time; a time window ends where the next one begins.
    """
    ended = pl.col("ts") <= window.to_ts if window.scale.endswith(" rows") else pl.col("ts") < window.to_ts
    return (pl.col("ts") >= window.from_ts) & ended


def windows_to_refresh(
    site: Site, current: CurrentSpec, first: int, end: int, *, at_once: int = MAX_ROWS_PER_READ
) -> list[UUID]:
    """Windows whose numbers lack rows of outcomes with first <= seq < end, oldest first.

    A window whose outcomes had all arrived is found too when one of them changes, because a change is a new row.

    Args:
        first, end: range of sequence numbers of the rows of outcomes.
        at_once: most rows of outcomes held in memory at one time.
    """
    with site.database.read() as db:
        candidates = store.windows_lacking_outcomes(db, current.model.id, end)
    found: set[UUID] = set()
    for at in range(first, end, at_once) if candidates else ():
        rows = site.events.arrived(current.model.name, at, min(at + at_once, end))
        newest = rows.group_by("event_id").agg(pl.col("seq").max().alias("outcome"))
        events = site.events.events_of(current.model.name, newest["event_id"], ["event_id", "seq", "ts"])
        known = events.join(newest, on="event_id").sort("seq")
        for window in (w for w in candidates if w.id not in found):
            low, high = (known["seq"].search_sorted(edge, side="left") for edge in (window.from_seq, window.to_seq))
            mine = known[low:high].filter(in_window(window) & (pl.col("outcome") >= window.next_outcome))
            if mine.height:
                found.add(window.id)
    return [w.id for w in candidates if w.id in found]

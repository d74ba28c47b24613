"""Which windows outcomes belong to that came, or changed, after the numbers of those windows were computed."""

from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import polars as pl

from monitor import store
from monitor.service import CurrentSpec
from monitor.site import Site

AT_ONCE: Final = 200_000  # rows of outcomes


class Spanning(Protocol):
    """What a window reaches over."""

    @property
    def scale(self) -> str: ...
    @property
    def from_ts(self) -> datetime: ...
    @property
    def to_ts(self) -> datetime: ...


def within(window: Spanning) -> pl.Expr:
    """Events that came late have numbers among those of other windows, so the time is asked as well as the number.

    A window of rows ends with its last event, one of time where the next begins.
    """
    ended = pl.col("ts") <= window.to_ts if window.scale.endswith(" rows") else pl.col("ts") < window.to_ts
    return (pl.col("ts") >= window.from_ts) & ended


def windows(site: Site, current: CurrentSpec, first: int, end: int, *, at_once: int = AT_ONCE) -> list[UUID]:
    """Windows with an event that a row of outcomes is about with first <= seq < end, unless they have that row.

    Oldest first. Complete windows are among them: a label that changed is a row like any other. `at_once`: rows of
    outcomes held at a time, at most.
    """
    with site.database.read() as db:
        reaches = store.windows_before(db, current.model.id, end)
    found: set[UUID] = set()
    for at in range(first, end, at_once) if reaches else ():
        rows = site.events.arrived(current.model.name, at, min(at + at_once, end))
        newest = rows.group_by("event_id").agg(pl.col("seq").max().alias("outcome"))
        events = site.events.events_of(current.model.name, newest["event_id"], ["event_id", "seq", "ts"])
        told = events.join(newest, on="event_id").sort("seq")
        for window in (w for w in reaches if w.id not in found):
            low, high = (told["seq"].search_sorted(edge, side="left") for edge in (window.from_seq, window.to_seq))
            mine = told[low:high].filter(within(window) & (pl.col("outcome") >= window.next_outcome))
            if mine.height:
                found.add(window.id)
    return [w.id for w in reaches if w.id in found]

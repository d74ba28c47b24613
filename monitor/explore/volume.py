"""How many events fit a filter, by day: from the table's log where nothing is asked, else counted within bounds."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from monitor.explore.filters import EventFilter
from monitor.explore.matching import Matching
from monitor.explore.search import OUTCOME_ROWS, SLICE_ROWS, slices
from monitor.site import Site
from monitor.spec.model import ModelSpec

SECONDS: Final = 3.0
MOST_DAYS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Volume:
    """Events by day of event time, UTC.

    Attributes:
        days: the days that have some, ascending.
        reached: the count covers the days from here on, where it stopped at its bound; None if it covers all.
    """

    days: list[tuple[date, int]]
    reached: datetime | None
    seconds: float

    @property
    def total(self) -> int:
        return sum(rows for _, rows in self.days)


def stored_days(site: Site, model: str) -> list[tuple[date, int]]:
    """Stored events by day, as the table's log says; what is in no file yet, and replacements, are left out."""
    found: Counter[date] = Counter()
    for file in site.events.table(model, "events").snapshot().files:
        if file.day is not None:
            found[file.day] += file.rows
    return sorted(found.items())[-MOST_DAYS:]


def volume(site: Site, spec: ModelSpec, asked: EventFilter, *, seconds: float = SECONDS) -> Volume:
    """Count the events that fit, newest days first, until the bound of time."""
    import polars as pl

    began, counted, reached = time.monotonic(), Counter[date](), None
    matching = Matching(site, spec, asked)
    most = OUTCOME_ROWS if asked.asks_outcomes else SLICE_ROWS
    for part in slices(site, spec.model, asked, most):
        if time.monotonic() - began > seconds and part.end.year < 9999:
            reached = part.end
            break
        rows = matching.lazily(site.events.scan(spec.model, from_ts=part.begin, to_ts=part.end))
        there = rows.collect_schema().names()
        rows = rows.select([name for name in dict.fromkeys(("ts", *matching.needs)) if name in there])
        if asked.asks_outcomes:
            rows = matching.kept(rows.collect()).lazy()
        by_day = rows.group_by(pl.col("ts").dt.date().alias("day")).len().collect()
        counted.update(dict(by_day.iter_rows()))
    return Volume(sorted(counted.items())[-MOST_DAYS:], reached, time.monotonic() - began)

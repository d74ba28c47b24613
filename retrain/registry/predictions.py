"""The predictions a version made: what a rollback must be able to list, so that people can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from monitor.site import Site

STEP: Final = 200_000  # sequence numbers read at a time
FIELDS: Final = ("event_id", "ts", "seq")


@dataclass(frozen=True, slots=True)
class Predictions:
    """Events that name a version. `others` counts those that came while it was champion and name another one."""

    version: str
    count: int
    first_at: datetime | None
    last_at: datetime | None
    champion_from: datetime | None
    champion_to: datetime | None
    others: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """For the ledger."""
        return {"count": self.count, "first_at": self.first_at, "last_at": self.last_at}


def predictions_of(site: Site, model: str, version: str, since: datetime | None, until: datetime | None) -> Predictions:
    """Count the events of a version, and those of others while it was champion (`since` to `until`)."""
    counted: dict[str, int] = {}
    count, first, last = 0, None, None
    for frame in _steps(site, model, 0):
        own = frame.filter(pl.col("version") == version)
        if own.height:
            count += own.height
            low, high = own["ts"].min(), own["ts"].max()
            first = low if first is None else min(first, low)
            last = high if last is None else max(last, high)
        if since is not None:
            rest = frame.filter(pl.col("version") != version, pl.col("ts") >= since)
            if until is not None:
                rest = rest.filter(pl.col("ts") <= until)
            for name, n in rest.group_by("version").len().iter_rows():
                counted[name] = counted.get(name, 0) + n
    others = dict(sorted(counted.items()))
    return Predictions(version, count, first, last, since, until, others)


def page_of(site: Site, model: str, version: str, *, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Up to `limit` events of a version after sequence number `after`, in order of arrival, and where to go on."""
    found: list[dict[str, Any]] = []
    for frame in _steps(site, model, after + 1):
        found += frame.filter(pl.col("version") == version).select(FIELDS).head(limit + 1 - len(found)).to_dicts()
        if len(found) > limit:
            return found[:limit], int(found[limit - 1]["seq"])
    return found, None


def _steps(site: Site, model: str, first: int) -> Any:
    """The events in arrival order, a bounded number at a time."""
    end = site.events.extent(model).next_seq
    for at in range(first, end, STEP):
        yield site.events.events(model, from_seq=at, to_seq=min(at + STEP, end), columns=[*FIELDS, "version"])

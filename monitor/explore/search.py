"""One page of the events that fit a filter, by time; bounded in memory and time, and resumable where it stopped.

The tables are read in slices of time, newest or oldest first, each of a bounded number of rows: first only the columns
that the filter asks for, then the shown columns of the rows that were found. Polars reads without the interpreter's
lock, so that a search holds up no other request. A search that reaches its bound says how far it came, and its cursor
goes on from there.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.errors import InvalidError
from monitor.explore.filters import EventFilter, Sort
from monitor.explore.matching import Matching
from monitor.site import Site
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    from monitor.lake.snapshot import DataFile

SECONDS: Final = 2.0  # that one search reads for; the slice it is in is read to its end
SLICE_ROWS: Final = 250_000  # of events, read at a time
OUTCOME_ROWS: Final = 50_000  # the same where outcomes are joined
MOST_ROWS: Final = 200  # of a page
_CURSOR: Final = re.compile(r"(-?\d{1,17}):(-?\d{1,18})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Slice:
    """A span of time, and about how many stored rows it holds."""

    begin: datetime
    end: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Found:
    """One page.

    Attributes:
        rows: the events, with the outcome columns that are known.
        next: cursor of what follows; None at the end.
        looked: about how many stored events were looked at.
        reached: the time up to which the search came, where it stopped at its bound before the page was full.
        seconds: that it took.
    """

    rows: list[dict[str, Any]]
    next: str | None
    looked: int
    reached: datetime | None
    seconds: float


def search(
    site: Site, spec: ModelSpec, asked: EventFilter, *, columns: Sequence[str], sort: Sort = "newest", limit: int = 50,
    cursor: str | None = None, seconds: float = SECONDS, slice_rows: int | None = None,
) -> Found:  # fmt: skip
    """The events of a model that fit, by time and order of arrival.

    Args:
        columns: those to return, beside `event_id`, `ts` and `seq`; names that no row has are left out.
        cursor: `next` of the page before.

    Raises:
        InvalidError: the cursor is none of ours.
    """
    began = time.monotonic()
    at = None if cursor is None else _position(cursor)
    newest = sort == "newest"
    matching = Matching(site, spec, asked)
    most = slice_rows or (OUTCOME_ROWS if asked.asks_outcomes else SLICE_ROWS)
    chosen: list[tuple[datetime, int]] = []
    looked, reached, following = 0, None, None
    for part in slices(site, spec.model, asked, most, newest=newest, at=at):
        if time.monotonic() - began > seconds and looked:
            reached = part.end if newest else part.begin
            following = _cursor(reached, -1)
            break
        found = _in_slice(site, matching, part, limit + 1 - len(chosen), newest, at)
        chosen += found
        looked += part.rows
        if len(chosen) > limit:
            chosen = chosen[:limit]
            following = _cursor(*chosen[-1])
            break
    rows = _shown(site, spec, chosen, columns)
    return Found(rows, following, looked, reached, time.monotonic() - began)


def slices(
    site: Site, model: str, asked: EventFilter, most: int, *, newest: bool = True,
    at: tuple[datetime, int] | None = None,
) -> Iterator[Slice]:  # fmt: skip
    """Adjoining spans of time that cover the period, each with about `most` rows, in the order of a search.

    They follow from what the table's log says of its files; rows that are in no file yet lie in one of them too.
    """
    begin, end = asked.from_ts or _FIRST, asked.to_ts or _LAST
    if at is not None:
        last = _after(at[0]) if at[1] >= 0 else at[0]  # a search that stopped has seen what is at that time
        begin, end = (begin, min(end, last)) if newest else (max(begin, at[0]), end)
    if begin >= end:
        return
    files = site.events.table(model, "events").snapshot().between(from_ts=begin, to_ts=end)
    cuts = [(low, rows) for low, rows in _cuts(files, most) if begin < low < end]
    before = [rows for low, rows in _cuts(files, most) if low <= begin]
    edges = [(begin, before[-1] if before else 0), *cuts]
    ends = [low for low, _ in edges[1:]] + [end]
    found = [Slice(low, high, rows) for (low, rows), high in zip(edges, ends, strict=True)]
    yield from reversed(found) if newest else found


def _cuts(files: "Sequence[DataFile]", most: int) -> list[tuple[datetime, int]]:
    """Where slices begin, ascending, and about how many rows follow until the next one."""
    days: dict[Any, list[DataFile]] = {}
    for file in files:
        if file.low.get("ts") is not None:
            days.setdefault(file.day, []).append(file)
    found: list[tuple[datetime, int]] = []
    filled = most
    for held in sorted(days.values(), key=lambda held: min(f.low["ts"] for f in held)):
        low, high = min(f.low["ts"] for f in held), max(f.high["ts"] for f in held)
        rows = sum(f.rows for f in held)
        parts = -(-rows // most)
        if parts == 1 and filled + rows <= most:  # the slice before has room for this day
            found[-1] = (found[-1][0], found[-1][1] + rows)
            filled += rows
            continue
        step = (high - low) / parts
        found += [(low + n * step, rows // parts) for n in range(parts)]
        filled = rows if parts == 1 else most
    return found


def _in_slice(
    site: Site, matching: Matching, part: Slice, limit: int, newest: bool, at: tuple[datetime, int] | None
) -> "list[tuple[datetime, int]]":
    """Time and number of the first rows of a slice that fit, in order, from the cursor on."""
    import polars as pl

    rows = matching.lazily(site.events.scan(matching.spec.model, from_ts=part.begin, to_ts=part.end))
    if at is not None:
        ts, seq = pl.lit(at[0], dtype=pl.Datetime("us", "UTC")), at[1]
        beyond = pl.col("ts") < ts if newest else pl.col("ts") > ts
        same = pl.col("seq") < seq if newest else pl.col("seq") > seq
        rows = rows.filter(beyond | ((pl.col("ts") == ts) & same))
    there = rows.collect_schema().names()
    wanted = [name for name in dict.fromkeys(("ts", "seq", *matching.needs)) if name in there]
    rows = rows.select(wanted)
    order: dict[str, Any] = {"by": ["ts", "seq"], "descending": newest}
    if not matching.asked.asks_outcomes:
        first = rows.top_k(limit, by=["ts", "seq"]) if newest else rows.bottom_k(limit, by=["ts", "seq"])
        return first.sort(**order).collect().select("ts", "seq").rows()
    return matching.kept(rows.sort(**order).collect()).head(limit).select("ts", "seq").rows()


def _shown(
    site: Site, spec: ModelSpec, chosen: Sequence[tuple[datetime, int]], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The chosen rows with their columns, in order; the outcome columns among them where an outcome is known."""
    import polars as pl

    if not chosen:
        return []
    times, numbers = [ts for ts, _ in chosen], [seq for _, seq in chosen]
    rows = site.events.scan(
        spec.model, from_seq=min(numbers), to_seq=max(numbers) + 1, from_ts=min(times), to_ts=_after(max(times))
    )
    there = rows.collect_schema().names()
    wanted = [name for name in dict.fromkeys(("event_id", "ts", "seq", *columns)) if name in there]
    found = rows.filter(pl.col("seq").is_in(numbers)).select(wanted).collect()
    by_number = {row["seq"]: row for row in found.to_dicts()}
    outcome = [name for name in columns if name in spec.columns and spec.columns[name].role == "outcome"]
    if outcome:
        known = site.events.outcomes(spec.model, ids=found["event_id"])
        names = [name for name in outcome if name in known.columns]
        values = {row["event_id"]: row for row in known.select("event_id", *names).to_dicts()}
        for row in by_number.values():
            row |= {name: values.get(row["event_id"], {}).get(name) for name in outcome}
    return [by_number[seq] for seq in numbers if seq in by_number]


def _position(cursor: str) -> tuple[datetime, int]:
    found = _CURSOR.fullmatch(cursor)
    try:
        if found is not None:
            return _EPOCH + timedelta(microseconds=int(found[1])), int(found[2])
    except OverflowError:
        pass
    raise InvalidError(
        f"cursor is {cursor[:50]!r}; take the one of the page before, or leave it out", field="cursor",
        value=cursor[:200],
    )  # fmt: skip


def _cursor(at: datetime, seq: int) -> str:
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}:{seq}"


def _after(at: datetime) -> datetime:
    return min(at, _LAST) + timedelta(microseconds=1)

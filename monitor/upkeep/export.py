"""Stream a model's rows in order of `seq`, resumable at any row; the rows are never all held in memory.

An export reads one version of the table to its end. `seq` is dense, so a range of it is a bounded amount of work. In an
export of outcomes each event appears once, with everything known about it, at the place of its newest row.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from core.clock import check_period
from core.errors import InvalidError
from monitor.explore.matching import Matching
from monitor.site import Site

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.snapshot import Snapshot
    from monitor.lake.table import LakeTable

Kind = Literal["events", "outcomes"]
Form = Literal["ndjson", "arrow", "parquet", "csv"]
MEDIA_TYPES: Final = {
    "ndjson": "application/x-ndjson", "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8",
}  # fmt: skip
STEP_ROWS: Final = 50_000
STEP_BYTES: Final = 8 << 20  # read at a time, approximately, as compressed on disk
PIECE_BYTES: Final = 1 << 20  # handed to the server at a time
FORMULA_START: Final = r"^[=+\-@\t\r\n]"  # how a cell begins that a spreadsheet may compute
_CURSOR = re.compile(r"(\d{1,15}):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Export:
    version: int  # of the table; with the last `seq` received it resumes an export
    media_type: str
    body: Iterator[bytes]


def export(
    site: Site,
    model: str,
    *,
    kind: Kind = "events",
    form: Form = "ndjson",
    from_ts: datetime | None = None,
    to_ts: datetime | None = None,
    cursor: str | None = None,
    limit: int | None = None,
    without: frozenset[str] = frozenset(),
    rows: list[int] | None = None,
    step_rows: int = STEP_ROWS,
    matching: Matching | None = None,
) -> Export:
    """Export the rows with from_ts <= ts < to_ts that come after the cursor.

    Args:
        matching: only the events that fit a filter.
        cursor: `version:seq` of an interrupted export; the rest is read from the same version.
        limit: most rows to export.
        without: columns that are left out.
        rows: gets the number of rows of each part as it is read.
        step_rows: most rows held in memory at one time.

    Raises:
        InvalidError: the cursor is malformed, or `from_ts` is not before `to_ts`.
        VersionGoneError: the cursor names a version that does not exist.
    """
    check_period(from_ts, to_ts)
    version, first = (None, 0) if cursor is None else _parse_cursor(cursor)
    if version is None:
        site.events.settle(model)
    table = site.events.table(model, kind)
    snapshot = table.snapshot(version)
    revised = site.events.has_replacements(model) and kind == "events"
    read = partial(site.events.revised, model) if revised else _as_stored
    if matching is not None:
        read = partial(_matching, read, matching)
    frames = _frames(table, snapshot, first, from_ts, to_ts, step_rows, read)
    if matching is not None and matching.asked.asks_outcomes:
        frames = (matching.kept(frame) for frame in frames)
    if kind == "outcomes":
        frames = (_merged_outcomes(table, snapshot, frame) for frame in frames)
    frames = _limited(frames, limit)
    if without:
        frames = (frame.drop(without & {*frame.columns}) for frame in frames)
    if rows is not None:
        frames = _counted(frames, rows)
    body = _pieces(_WRITERS[form](frames))
    return Export(snapshot.version if version is None else version, MEDIA_TYPES[form], body)


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces: what the server has taken waits for the client a second time in its memory."""
    for part in parts:
        for at in range(0, len(part), PIECE_BYTES):
            yield part[at : at + PIECE_BYTES]


def _parse_cursor(cursor: str) -> tuple[int, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidError(
            f"cursor is {cursor[:50]!r}; write the X-Assay-Version header of the first answer, a colon and the seq of "
            "the last row received, such as 118:40211",
            field="cursor",
        )
    return int(found[1]), int(found[2]) + 1


def _frames(
    table: "LakeTable", snapshot: "Snapshot", first: int, from_ts: datetime | None, to_ts: datetime | None, most: int,
    read: "Callable[..., pl.LazyFrame]",
) -> "Iterator[pl.DataFrame]":  # fmt: skip
    """The rows in frames of bounded size; the first frame may be empty and defines the columns.

    `read` gives the rows that readers see, from those of the table and their bounds.
    """
    files = snapshot.between(first, snapshot.end, from_ts=from_ts, to_ts=to_ts)
    lowest = min((f.low["seq"] for f in files if f.low.get("seq") is not None), default=0)
    end = max((f.high["seq"] + 1 for f in files if f.high.get("seq") is not None), default=0)
    at, end = max(first, lowest), end if snapshot.end is None else min(end, snapshot.end)
    size, rows = sum(f.size for f in files), sum(f.rows for f in files)
    step = max(1, min(most, STEP_BYTES * rows // max(1, size)))
    wanted = {f.path for f in files}
    yield table.scan_at(snapshot, to_seq=0).collect()
    while at < end:
        until = min(at + step, end)
        # A range of `seq` that no file of these days holds is not read.
        if any(f.path in wanted for f in snapshot.between(at, until)):
            bounds: dict[str, Any] = {"from_seq": at, "to_seq": until, "from_ts": from_ts, "to_ts": to_ts}
            found = read(table.scan_at(snapshot, **bounds), **bounds)
            if (frame := found.sort("seq").collect()).height:
                yield frame
        at = until


def _matching(
    read: "Callable[..., pl.LazyFrame]", matching: Matching, rows: "pl.LazyFrame", **bounds: Any
) -> "pl.LazyFrame":
    return matching.lazily(read(rows, **bounds))


def _as_stored(rows: "pl.LazyFrame", **_: Any) -> "pl.LazyFrame":
    return rows


def _merged_outcomes(table: "LakeTable", snapshot: "Snapshot", frame: "pl.DataFrame") -> "pl.DataFrame":
    """Each outcome with everything this version knows about its event; a row with a newer one is left to that one."""
    from monitor.events.merge_outcomes import merged

    if frame.is_empty():
        return frame
    whole = merged(table.scan_at(snapshot, keys=frame["event_id"].unique()).collect())
    return whole.join(frame.select("seq"), on="seq", how="semi", maintain_order="left").select(frame.columns)


def _counted(frames: "Iterator[pl.DataFrame]", rows: list[int]) -> "Iterator[pl.DataFrame]":
    for frame in frames:
        rows.append(frame.height)
        yield frame


def _limited(frames: "Iterator[pl.DataFrame]", limit: int | None) -> "Iterator[pl.DataFrame]":
    for frame in frames:
        if limit is None:
            yield frame
            continue
        yield frame.head(limit)
        limit -= frame.height
        if limit <= 0:
            return


def _ndjson(frames: "Iterator[pl.DataFrame]") -> Iterator[bytes]:
    import polars as pl

    for frame in frames:
        if frame.height:
            times = pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            yield frame.with_columns(times).write_ndjson().encode()


def _csv(frames: "Iterator[pl.DataFrame]") -> Iterator[bytes]:
    """No cell begins as a formula of a spreadsheet does: an apostrophe is put before it. A list is written as JSON."""
    import polars as pl

    first = True
    for frame in frames:
        times = pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        lists = [
            pl.Series(name, [None if v is None else json.dumps(v.to_list(), ensure_ascii=False) for v in frame[name]],
                      dtype=pl.String)
            for name, kind in frame.schema.items() if isinstance(kind, pl.List)
        ]  # fmt: skip
        safe = pl.selectors.string().str.replace(FORMULA_START, "'$0")
        yield frame.with_columns(lists).with_columns(safe).with_columns(times).write_csv(include_header=first).encode()
        first = False


class _Sink:
    """A file object that keeps what a writer has written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, part: Any) -> int:
        content = bytes(part)
        self._parts.append(content)
        self._at += len(content)
        return len(content)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _arrow(frames: "Iterator[pl.DataFrame]") -> Iterator[bytes]:
    import pyarrow as pa

    return _write_file(frames, pa.ipc.new_stream)


def _parquet(frames: "Iterator[pl.DataFrame]") -> Iterator[bytes]:
    import pyarrow.parquet as pq

    return _write_file(frames, lambda sink, schema: pq.ParquetWriter(sink, schema, compression="zstd"))


def _write_file(frames: "Iterator[pl.DataFrame]", opened: Callable[[Any, Any], Any]) -> Iterator[bytes]:
    """The bytes of one file, in pieces as they are written."""
    import polars as pl

    sink, writer = _Sink(), None
    for frame in frames:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if writer is None:
            writer = opened(sink, table.schema)
        if table.num_rows:
            writer.write_table(table)
        if content := sink.take():
            yield content
    assert writer is not None  # there is always a first frame
    writer.close()
    yield sink.take()


_WRITERS: Final[dict[Form, Callable[["Iterator[pl.DataFrame]"], Iterator[bytes]]]] = {
    "ndjson": _ndjson, "arrow": _arrow, "parquet": _parquet, "csv": _csv,
}  # fmt: skip

"""Stored column profiles: built block by block as blocks end, so that any window is a sum of a few of them.

A block is profiled from all of its rows at once, and again when rows arrive late, so building is idempotent and a
profile never depends on how its rows came in. A new baseline has other bins and starts with none.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from monitor.baseline import Baseline
from monitor.coding import CodedColumns, Coding, coded_columns
from monitor.profile import BlockProfile, empty_profile, profile_coded
from monitor.profile_bytes import from_bytes, summed, to_bytes
from monitor.reference import BLOCKS_PER_WINDOW, GRACE, block_length, profile_parts, time_blocks
from monitor.schema import ModelSpec, RowWindow
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import BaselineRow, StoredProfile

# Values of one segment column with profiles of their own; of more, the most frequent of the block.
MOST_SEGMENTS: Final = 20
# Blocks are read together up to about this many rows.
MOST_ROWS: Final = 200_000


def extend(site: Site, current: CurrentSpec, row: BaselineRow, baseline: Baseline) -> list[int]:
    """Profile every block that has ended and has rows no stored profile holds yet; returns their labels."""
    name, spec = current.model.name, current.spec
    next_seq = site.events.extent(name).next_seq
    since = row.from_seq if row.profiled_seq is None else row.profiled_seq
    if next_seq <= since:
        return []
    fresh = site.events.events(name, from_seq=since, to_seq=next_seq, columns=["seq", "ts"])
    labels = _labels(spec, row, fresh)
    ended = labels < _open_label(site, spec, row, next_seq)
    waiting = fresh["seq"].filter(pl.Series(~ended))
    profiled = next_seq if waiting.is_empty() else int(waiting.min())  # type: ignore[arg-type]  # not null
    touched: list[int] = np.unique(labels[ended]).tolist()
    together = max(1, MOST_ROWS * len(touched) // max(int(ended.sum()), 1))
    for run in _runs(touched, together):
        frame = _rows(site, spec, row, name, run).filter(pl.col("seq") < next_seq)
        of = _labels(spec, row, frame)
        coded = coded_columns(frame, baseline.coding)
        with site.database.write() as db:
            stored = (
                StoredProfile.baseline_id == row.id,
                StoredProfile.label >= run.start,
                StoredProfile.label < run.stop,
            )
            db.execute(delete(StoredProfile).where(*stored))
            found = [
                {"baseline_id": row.id, "label": label, **one}
                for label in run
                for one in _profiled(frame, coded, np.flatnonzero(of == label), spec, baseline.coding)
            ]
            if found:
                db.execute(insert(StoredProfile), found)
    with site.database.write() as db:
        db.get_one(BaselineRow, row.id, with_for_update=True).profiled_seq = profiled
    return touched


def stored_blocks(
    db: Session, baseline_id: UUID, coding: Coding, labels: range, *, version: str = "", segment: str = ""
) -> list[BlockProfile]:
    """One profile per label, without rows where no row of that version and segment came."""
    found = dict(_parts_of(db, baseline_id, labels, version, segment))
    return [from_bytes(found[label], coding) if label in found else empty_profile(coding) for label in labels]


def stored_window(
    db: Session, baseline_id: UUID, coding: Coding, labels: range, *, version: str = "", segment: str = ""
) -> BlockProfile:
    """The profile of all rows of the labels."""
    parts = [data for _, data in _parts_of(db, baseline_id, labels, version, segment)]
    return summed(parts, coding) if parts else empty_profile(coding)


def labels_between(spec: ModelSpec, row: BaselineRow, seqs: tuple[int, int], times: tuple[datetime, datetime]) -> range:
    """Blocks of a window, given by its first row or time and one past its last."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        ends = row_labels(np.array(seqs) - row.from_seq, windows.rows)
    else:
        ends = time_blocks(pl.Series(list(times)), windows)
    return range(int(ends[0]), int(ends[1]))


def _parts_of(db: Session, baseline_id: UUID, labels: range, version: str, segment: str) -> Sequence[tuple[int, bytes]]:
    query = (
        select(StoredProfile.label, StoredProfile.data)
        .where(
            StoredProfile.baseline_id == baseline_id, StoredProfile.label >= labels.start,
            StoredProfile.label < labels.stop, StoredProfile.version == version, StoredProfile.segment == segment,
        )
        .order_by(StoredProfile.label)
    )  # fmt: skip
    return [(label, data) for label, data in db.execute(query)]


def _runs(labels: Sequence[int], most: int) -> Iterator[range]:
    """Neighbouring labels, up to `most` together."""
    begin = 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[at - 1] + 1 or at - begin >= most:
            yield range(labels[begin], labels[at - 1] + 1)
            begin = at


def _labels(spec: ModelSpec, row: BaselineRow, frame: pl.DataFrame) -> NDArray[np.int64]:
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return row_labels(frame["seq"].to_numpy() - row.from_seq, windows.rows)
    return time_blocks(frame["ts"], windows)


def row_labels(position: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Block of each row by its position after the first: ten to a window, the last of which takes the remainder."""
    number, inside = np.divmod(position, window)
    found: NDArray[np.int64] = number * BLOCKS_PER_WINDOW + np.minimum(
        inside // (window // BLOCKS_PER_WINDOW), BLOCKS_PER_WINDOW - 1
    )
    return found


def _open_label(site: Site, spec: ModelSpec, row: BaselineRow, next_seq: int) -> int:
    """The first block that may still get rows in the ordinary way."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return int(row_labels(np.array([next_seq - row.from_seq]), windows.rows)[0])
    return int(time_blocks(pl.Series([site.clock.now() - GRACE]), windows)[0])


def _rows(site: Site, spec: ModelSpec, row: BaselineRow, name: str, labels: range) -> pl.DataFrame:
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        first, last = (row.from_seq + _position(label, windows.rows) for label in (labels.start, labels.stop))
        return site.events.events(name, from_seq=first, to_seq=last)
    seconds = int(block_length(windows).total_seconds()) // profile_parts(windows)
    begin, end = (datetime.fromtimestamp(label * seconds, tz=UTC) for label in (labels.start, labels.stop))
    return site.events.scan(name, from_seq=row.from_seq, from_ts=begin, to_ts=end).sort("seq").collect()


def _position(label: int, window: int) -> int:
    """Rows before a block of rows."""
    number, part = divmod(label, BLOCKS_PER_WINDOW)
    return number * window + part * (window // BLOCKS_PER_WINDOW)


def _profiled(
    frame: pl.DataFrame, coded: CodedColumns, rows: NDArray[np.int64], spec: ModelSpec, coding: Coding
) -> Iterator[dict[str, Any]]:
    """What is stored of the rows of one block, given by their places: the whole, its versions, its segments."""

    def profiled(chosen: NDArray[np.int64]) -> bytes:
        (block,) = profile_coded(_only(coded, rows[chosen]), coding, np.zeros(len(chosen), dtype=np.int64), 1)
        return to_bytes(block)

    whole = profiled(np.arange(len(rows)))
    for version, segment, chosen in _parts(frame[rows], spec.with_role("segment")):
        data = whole if len(chosen) == len(rows) else profiled(chosen)
        yield {"version": version, "segment": segment, "rows": len(chosen), "data": data}


def _parts(frame: pl.DataFrame, segments: Sequence[str]) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """All rows, those of each version, and those of each value of each segment column."""
    yield "", "", np.arange(frame.height)
    for value, rows in _groups(frame["version"]):
        yield value, "", rows
    for column in segments:
        if column in frame.columns:
            for value, rows in _groups(frame[column].cast(pl.String)):
                yield "", f"{column}={value}"[:300], rows


def _groups(values: pl.Series) -> Iterator[tuple[str, NDArray[np.int64]]]:
    if len(values) and not values.null_count() and values.n_unique() == 1:
        yield values[0], np.arange(len(values))
        return
    counted = values.drop_nulls().value_counts(sort=True)
    ranked = counted.sort("count", counted.columns[0], descending=[True, False])[counted.columns[0]]
    for value in ranked[:MOST_SEGMENTS]:
        yield value, (values == value).arg_true().to_numpy().astype(np.int64)


def _only(coded: CodedColumns, rows: NDArray[np.int64]) -> CodedColumns:
    return CodedColumns(
        {name: values[rows] for name, values in coded.numbers.items()},
        {name: codes[rows] for name, codes in coded.categories.items()},
        coded.new,
    )

"""Store the profile of each block when the block ends, so that every window is a sum of a few stored profiles.

A block is profiled from all of its rows at once, and again when rows arrive late. Profiling is thus idempotent, and a
profile never depends on the order in which its rows arrived. A new reference has other bins and starts with none.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core import engine as engines
from core.engine import HERE, Call
from core.errors import BusyError
from core.logs import logger
from core.settings import EngineSettings
from monitor import store
from monitor.profile.block import BlockProfile, empty_profile
from monitor.profile.codec import from_bytes
from monitor.profile.coding import Coding
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.collect import time_blocks
from monitor.reference.encode import encoding_of, is_available
from monitor.reference.profile_job import (
    MAX_SEGMENT_VALUES,
    BlockRange,
    ProfiledBlock,
    ProfileTask,
    labels_of,
    profile_rows,
    row_labels,
    run_profile_task,
)
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW, GRACE_PERIOD, block_length, profile_parts
from monitor.tables import ReferenceRow, StoredProfile

# Blocks are read together up to about this many rows and this many values.
MAX_ROWS_PER_READ: Final = 200_000
MAX_VECTOR_ROWS_PER_READ: Final = 50_000  # where each row has a vector of hundreds of numbers
MAX_CELLS_PER_READ: Final = 20_000_000
# So many columns are counted and stored in one transaction, which all others wait for: a block has a profile for all of
# its rows and one for each value of a segment.
MAX_COUNTS_PER_READ: Final = 50_000
# Fewer values are profiled faster than other processes start. A text or vector counts as CELLS_PER_TEXT values. Vectors
# of an encoder already come from a process of its own, so blocks with encoded texts are never pooled.
MIN_CELLS_FOR_PROCESSES: Final = 100_000_000
CELLS_PER_TEXT: Final = 500
log = logger(__name__)


def first_profiled(row: ReferenceRow) -> int:
    """The first event that may lie in a profiled block; blocks of rows are counted from it."""
    return row.from_seq if row.windows_seq is None else row.windows_seq


def delete_profiles(db: Session, row: ReferenceRow) -> None:
    """Delete every profile of a reference whose bins changed; they are made again from the rows."""
    db.execute(delete(StoredProfile).where(StoredProfile.baseline_id == row.id))
    row.profiled_seq = None


def _profile_unencoded_again(site: Site, current: CurrentSpec, row: ReferenceRow) -> None:
    """Profile the blocks again whose texts could not be encoded, now that the encoder is available."""
    with site.database.read() as db:
        query = select(StoredProfile.label, StoredProfile.unencoded).where(StoredProfile.baseline_id == row.id)
        waiting = sorted({label for label, unencoded in db.execute(query) if unencoded})
    _profile_again(site, current, row, waiting)


def unencoded(db: Session, baseline_id: UUID, labels: range) -> dict[str, str]:
    """Text columns that could not be encoded in at least one of these blocks, with the reason."""
    query = select(StoredProfile.unencoded).where(
        StoredProfile.baseline_id == baseline_id, StoredProfile.label >= labels.start,
        StoredProfile.label < labels.stop, StoredProfile.version == "", StoredProfile.segment == "",
    )  # fmt: skip
    return {name: reason for found in db.scalars(query) for name, reason in found.items()}


def profile_blocks_again(
    site: Site, current: CurrentSpec, row: ReferenceRow, erased: Sequence[tuple[int, datetime]]
) -> None:
    """Profile the blocks again that held erased rows.

    Args:
        erased: sequence number and time of each erased row.
    """
    counted = [(seq, ts) for seq, ts in erased if first_profiled(row) <= seq < (row.profiled_seq or 0)]
    if not counted or row.artifact is None:
        return
    gone = pl.DataFrame(counted, schema={"seq": pl.Int64, "ts": pl.Datetime("us", "UTC")}, orient="row")
    labels: list[int] = np.unique(labels_of(gone, current.spec.monitors.window_lengths, first_profiled(row))).tolist()
    _profile_again(site, current, row, labels)


def _profile_again(site: Site, current: CurrentSpec, row: ReferenceRow, labels: Sequence[int]) -> None:
    if not labels:
        return
    runs = list(_runs_of_labels(labels, len(labels), max(labels)))
    assert row.profiled_seq is not None  # there are profiles
    for run, profiles in zip(runs, _profiled(site, current, row, runs, row.profiled_seq, HERE), strict=True):
        with site.database.write() as db:
            _replace_profiles(db, row, run, profiles)


def profile_ended_blocks(
    site: Site, current: CurrentSpec, row: ReferenceRow, reference: ReferenceProfile, *, until: float | None = None
) -> list[int] | None:
    """Profile every block that has ended and has rows which no stored profile holds yet.

    Args:
        until: on the monotonic clock; blocks of rows are left to another call from then on.

    Returns:
        Labels of the profiled blocks; None if some are left.
    """
    name, spec = current.model.name, current.spec
    next_seq = site.events.extent(name).next_seq
    since = first_profiled(row) if row.profiled_seq is None else row.profiled_seq
    if next_seq <= since:
        return []
    fresh = site.events.events(name, from_seq=since, to_seq=next_seq, columns=["seq", "ts"])
    labels = labels_of(fresh, spec.monitors.window_lengths, first_profiled(row))
    ended = labels < _open_label(site, spec, row, next_seq)
    waiting = fresh["seq"].filter(pl.Series(~ended))
    profiled = next_seq if waiting.is_empty() else int(waiting.min())  # type: ignore[arg-type]  # not null
    touched: list[int] = np.unique(labels[ended]).tolist()
    rows = int(ended.sum())
    kinds = set(reference.columns.values())
    most = MAX_VECTOR_ROWS_PER_READ if kinds & {"vector", "encoded"} else MAX_ROWS_PER_READ
    most = min(most, max(1, MAX_CELLS_PER_READ // len(reference.columns)))
    together = max(1, most * len(touched) // max(rows, 1))
    together = max(1, min(together, MAX_COUNTS_PER_READ // _counts(spec, reference, rows / max(1, len(touched)))))
    if touched and is_available(encoding_of(site, spec)):
        _profile_unencoded_again(site, current, row)
    with site.database.read() as db:
        newest = store.newest_block(db, row.id)
    runs = list(_runs_of_labels(touched, together, newest))
    cells = rows * sum(CELLS_PER_TEXT if kind in ("text", "vector") else 1 for kind in reference.columns.values())
    engine = site.settings.engine if cells >= MIN_CELLS_FOR_PROCESSES and "encoded" not in kinds else HERE
    for run, profiles in zip(runs, _profiled(site, current, row, runs, next_seq, engine), strict=True):
        for column, reason in {n: r for part in profiles for n, r in part.unencoded.items()}.items():
            log.warning("text not encoded; it is not judged", model=name, column=column, reason=reason)
        windows = spec.monitors.window_lengths
        with site.database.write() as db:
            _replace_profiles(db, row, run, profiles)
            if isinstance(windows, RowWindow):  # blocks of rows end one after the other, so that a stop loses no work
                reached = first_profiled(row) + _position(run.stop, windows.rows)
                db.get_one(ReferenceRow, row.id).profiled_seq = min(reached, profiled)
        if isinstance(windows, RowWindow) and until is not None and time.monotonic() >= until and run != runs[-1]:
            return None
    with site.database.write() as db:
        _locked_unchanged(db, row).profiled_seq = profiled
    return touched


def _counts(spec: ModelSpec, reference: ReferenceProfile, rows: float) -> int:
    """How many columns are counted for a block of so many rows, at most: for all of them, and for each slice."""
    slices = max(1, min(int(rows), MAX_SEGMENT_VALUES))
    return len(reference.columns) * (2 + len(spec.with_role("segment")) * slices)


def stored_blocks(
    db: Session, baseline_id: UUID, coding: Coding, labels: range, *, version: str = "", segment: str = ""
) -> list[BlockProfile]:
    """One profile per label; it has no rows where no row of that version and segment arrived."""
    found, empty = dict(_stored_data(db, baseline_id, labels, version, segment)), empty_profile(coding)
    return [from_bytes(found[label], coding) if label in found else empty for label in labels]


def stored_bytes(db: Session, baseline_id: UUID, labels: range, *, segment: str = "") -> list[bytes]:
    """The stored profiles of the blocks that have one, of all versions together."""
    return [data for _, data in _stored_data(db, baseline_id, labels, "", segment)]


def stored_slices(db: Session, baseline_id: UUID, labels: range, most: int) -> dict[str, list[bytes]]:
    """The stored profiles of each segment in these blocks, at most so many segments, those with the most rows."""
    where = (
        StoredProfile.baseline_id == baseline_id, StoredProfile.label >= labels.start,
        StoredProfile.label < labels.stop, StoredProfile.version == "", StoredProfile.segment != "",
    )  # fmt: skip
    rows = func.sum(StoredProfile.rows)
    names = select(StoredProfile.segment).where(*where).group_by(StoredProfile.segment)
    kept = list(db.scalars(names.order_by(rows.desc(), StoredProfile.segment).limit(most)))
    found: dict[str, list[bytes]] = {name: [] for name in kept}
    query = select(StoredProfile.segment, StoredProfile.data).where(*where, StoredProfile.segment.in_(kept))
    for name, data in db.execute(query) if kept else ():
        found[name].append(data)
    return found


def labels_between(
    spec: ModelSpec, row: ReferenceRow, seqs: tuple[int, int], times: tuple[datetime, datetime]
) -> range:
    """Labels of the blocks of a window.

    Args:
        seqs: sequence numbers of its first row and one past its last; they decide for row windows.
        times: its start and end; they decide for time windows.
    """
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        ends = row_labels(np.array(seqs) - first_profiled(row), windows.rows)
    else:
        ends = time_blocks(pl.Series(list(times)), windows)
    return range(int(ends[0]), int(ends[1]))


def _stored_data(
    db: Session, baseline_id: UUID, labels: range, version: str, segment: str
) -> Sequence[tuple[int, bytes]]:
    query = (
        select(StoredProfile.label, StoredProfile.data)
        .where(
            StoredProfile.baseline_id == baseline_id, StoredProfile.label >= labels.start,
            StoredProfile.label < labels.stop, StoredProfile.version == version, StoredProfile.segment == segment,
        )
        .order_by(StoredProfile.label)
    )  # fmt: skip
    return [(label, data) for label, data in db.execute(query)]


def _profiled(
    site: Site, current: CurrentSpec, row: ReferenceRow, runs: Sequence[range], next_seq: int, engine: EngineSettings
) -> Iterator[list[ProfiledBlock]]:
    """The profiles of each run of blocks, in the order of the runs."""
    name = current.model.name
    if engine.jobs == 1 or site.events.has_replacements(name):  # the rows may still be in the log
        for blocks in _block_ranges(site, current, row, runs, next_seq):
            yield profile_rows(blocks, site.events.scan(name, **blocks.bounds), site.cache)
        return
    calls = (
        Call(f"blocks {t.blocks.labels.start} to {t.blocks.labels.stop - 1} of {name}", run_profile_task, (t,))
        for t in profile_tasks(site, current, row, runs, next_seq)
    )
    yield from engines.run(engine, calls)


def profile_tasks(
    site: Site, current: CurrentSpec, row: ReferenceRow, runs: Sequence[range], next_seq: int
) -> Iterator[ProfileTask]:
    """One task per run of blocks, which any process can run: its rows, all below `next_seq`, are in files."""
    if runs:
        site.events.settle(current.model.name)
        table = site.events.table(current.model.name, "events")
        snapshot = table.snapshot()
        for blocks in _block_ranges(site, current, row, runs, next_seq):
            yield ProfileTask(blocks, table.folder, replace(snapshot, files=snapshot.between(**blocks.bounds)))


def _block_ranges(
    site: Site, current: CurrentSpec, row: ReferenceRow, runs: Sequence[range], next_seq: int
) -> Iterator[BlockRange]:
    assert row.artifact is not None  # a reference that is not fitted has no blocks
    windows = current.spec.monitors.window_lengths
    for labels in runs:
        bounds: dict[str, Any] = {"from_seq": first_profiled(row), "to_seq": next_seq}
        if isinstance(windows, RowWindow):
            first, last = (
                first_profiled(row) + _position(label, windows.rows) for label in (labels.start, labels.stop)
            )
            bounds |= {"from_seq": first, "to_seq": min(last, next_seq)}
        else:
            seconds = int(block_length(windows).total_seconds()) // profile_parts(windows)
            begin, end = (datetime.fromtimestamp(label * seconds, tz=UTC) for label in (labels.start, labels.stop))
            bounds |= {"from_ts": begin, "to_ts": end}
        yield BlockRange(
            bounds=bounds, labels=labels, windows=windows, from_seq=first_profiled(row),
            segments=tuple(current.spec.with_role("segment")), artifacts=site.artifacts.root, reference=row.artifact,
            encoding=encoding_of(site, current.spec),
        )  # fmt: skip


def _runs_of_labels(labels: Sequence[int], most: int, newest: int) -> Iterator[range]:
    """Ranges that hold these labels, each at most `most` of them, and no other label that has a profile.

    Args:
        newest: the last label that has a profile. Blocks without rows lie only between later labels: they cost nothing.
    """
    begin = 0
    for at in range(1, len(labels) + 1):
        gap = at < len(labels) and labels[at] != labels[at - 1] + 1 and labels[at - 1] < newest
        if at == len(labels) or gap or at - begin >= most:
            yield range(labels[begin], labels[at - 1] + 1)
            begin = at


def _open_label(site: Site, spec: ModelSpec, row: ReferenceRow, next_seq: int) -> int:
    """The first block that may still get rows that are not late."""
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        return int(row_labels(np.array([next_seq - first_profiled(row)]), windows.rows)[0])
    return int(time_blocks(pl.Series([site.clock.now() - GRACE_PERIOD]), windows)[0])


def _position(label: int, window: int) -> int:
    """Rows before a block of rows."""
    number, part = divmod(label, BLOCKS_PER_WINDOW)
    return number * window + part * (window // BLOCKS_PER_WINDOW)


def _locked_unchanged(db: Session, row: ReferenceRow) -> ReferenceRow:
    """The stored row of a reference, locked.

    Raises:
        BusyError: the reference was fitted again since `row` was read.
    """
    stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
    if stored.artifact != row.artifact:
        raise BusyError("the reference was fitted again meanwhile; its blocks will be profiled with the new bins")
    return stored


def _replace_profiles(db: Session, row: ReferenceRow, labels: range, profiles: Sequence[ProfiledBlock]) -> None:
    """Store the profiles of a run of blocks in place of earlier ones."""
    _locked_unchanged(db, row)
    db.execute(
        delete(StoredProfile).where(
            StoredProfile.baseline_id == row.id, StoredProfile.label >= labels.start,
            StoredProfile.label < labels.stop,
        )
    )  # fmt: skip
    if profiles:
        kept = [{f.name: getattr(block, f.name) for f in fields(block)} for block in profiles]
        db.execute(insert(StoredProfile), [{"baseline_id": row.id, **block} for block in kept])

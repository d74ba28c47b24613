"""Stored column profiles: built block by block as blocks end, so that any window is a sum of a few of them.

A block is profiled from all of its rows at once, and again when rows arrive late, so building is idempotent and a
profile never depends on how its rows came in. A new baseline has other bins and starts with none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from core import engine as engines
from core.engine import HERE, Call
from core.errors import BusyError
from core.logs import logger
from core.settings import EngineSettings
from monitor.profile.block import BlockProfile, empty_profile
from monitor.profile.codec import from_bytes
from monitor.profile.coding import Coding
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.collect import time_blocks
from monitor.reference.encode import encoding_of, is_there
from monitor.reference.profile_job import Cut, Part, Stretch, labels_of, profile_rows, profile_stretch, row_labels
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW, GRACE_PERIOD, block_length, profile_parts
from monitor.tables import BaselineRow, StoredProfile

# Blocks are read together up to about this many rows, and about this many values.
MOST_ROWS: Final = 200_000
MOST_VECTORS: Final = 50_000  # the same where each row has a vector of hundreds of numbers
MOST_CELLS: Final = 20_000_000
# Fewer values than this are profiled sooner than other processes have started. A text or vector costs as much as this
# many; one that a model makes is made in a process of its own, of which one at a time is enough.
POOLED_CELLS: Final = 100_000_000
TEXT_CELLS: Final = 500
log = logger(__name__)


def forget(db: Session, row: BaselineRow) -> None:
    """Drop every profile of a baseline whose bins changed; they are made again from the rows."""
    db.execute(delete(StoredProfile).where(StoredProfile.baseline_id == row.id))
    row.profiled_seq = None


def _encode_again(site: Site, current: CurrentSpec, row: BaselineRow) -> None:
    """Make the profiles again whose texts had no encoder, now that it is back."""
    with site.database.read() as db:
        query = select(StoredProfile.label, StoredProfile.unencoded).where(StoredProfile.baseline_id == row.id)
        waiting = sorted({label for label, unencoded in db.execute(query) if unencoded})
    _make_again(site, current, row, waiting)


def unencoded(db: Session, baseline_id: UUID, labels: range) -> dict[str, str]:
    """Texts that could not be encoded in some of these blocks, with the reason."""
    query = select(StoredProfile.unencoded).where(
        StoredProfile.baseline_id == baseline_id, StoredProfile.label >= labels.start,
        StoredProfile.label < labels.stop, StoredProfile.version == "", StoredProfile.segment == "",
    )  # fmt: skip
    return {name: reason for found in db.scalars(query) for name, reason in found.items()}


def recount(site: Site, current: CurrentSpec, row: BaselineRow, erased: Sequence[tuple[int, datetime]]) -> None:
    """Make the stored profiles again of the blocks that erased rows had come in, given by number and time."""
    counted = [(seq, ts) for seq, ts in erased if row.from_seq <= seq < (row.profiled_seq or 0)]
    if not counted or row.artifact is None:
        return
    gone = pl.DataFrame(counted, schema={"seq": pl.Int64, "ts": pl.Datetime("us", "UTC")}, orient="row")
    labels: list[int] = np.unique(labels_of(gone, current.spec.monitors.windows, row.from_seq)).tolist()
    _make_again(site, current, row, labels)


def _make_again(site: Site, current: CurrentSpec, row: BaselineRow, labels: Sequence[int]) -> None:
    if not labels:
        return
    runs = list(_runs(labels, len(labels)))
    assert row.profiled_seq is not None  # there are profiles
    for run, parts in zip(runs, _profiled(site, current, row, runs, row.profiled_seq, HERE), strict=True):
        with site.database.write() as db:
            _store(db, row, run, parts)


def extend(site: Site, current: CurrentSpec, row: BaselineRow, baseline: ReferenceProfile) -> list[int]:
    """Profile every block that has ended and has rows no stored profile holds yet; returns their labels."""
    name, spec = current.model.name, current.spec
    next_seq = site.events.extent(name).next_seq
    since = row.from_seq if row.profiled_seq is None else row.profiled_seq
    if next_seq <= since:
        return []
    fresh = site.events.events(name, from_seq=since, to_seq=next_seq, columns=["seq", "ts"])
    labels = labels_of(fresh, spec.monitors.windows, row.from_seq)
    ended = labels < _open_label(site, spec, row, next_seq)
    waiting = fresh["seq"].filter(pl.Series(~ended))
    profiled = next_seq if waiting.is_empty() else int(waiting.min())  # type: ignore[arg-type]  # not null
    touched: list[int] = np.unique(labels[ended]).tolist()
    rows = int(ended.sum())
    kinds = set(baseline.columns.values())
    most = MOST_VECTORS if kinds & {"vector", "encoded"} else MOST_ROWS
    most = min(most, max(1, MOST_CELLS // len(baseline.columns)))
    if touched and is_there(encoding_of(site, spec)):
        _encode_again(site, current, row)
    runs = list(_runs(touched, max(1, most * len(touched) // max(rows, 1))))
    cells = rows * sum(TEXT_CELLS if kind in ("text", "vector") else 1 for kind in baseline.columns.values())
    engine = site.settings.engine if cells >= POOLED_CELLS and "encoded" not in kinds else HERE
    for run, parts in zip(runs, _profiled(site, current, row, runs, next_seq, engine), strict=True):
        for column, reason in {n: r for part in parts for n, r in part.unencoded.items()}.items():
            log.warning("text not encoded; it is not judged", model=name, column=column, reason=reason)
        with site.database.write() as db:
            _store(db, row, run, parts)
    with site.database.write() as db:
        _same(db, row).profiled_seq = profiled
    return touched


def stored_blocks(
    db: Session, baseline_id: UUID, coding: Coding, labels: range, *, version: str = "", segment: str = ""
) -> list[BlockProfile]:
    """One profile per label, without rows where no row of that version and segment came."""
    found = dict(_parts_of(db, baseline_id, labels, version, segment))
    return [from_bytes(found[label], coding) if label in found else empty_profile(coding) for label in labels]


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


def _profiled(
    site: Site, current: CurrentSpec, row: BaselineRow, runs: Sequence[range], next_seq: int, engine: EngineSettings
) -> Iterator[list[Part]]:
    """The profiles of each run of blocks, in order."""
    name = current.model.name
    if engine.jobs == 1:  # the rows may still be in the log
        for cut in _cuts(site, current, row, runs, next_seq):
            yield profile_rows(cut, site.events.scan(name, **cut.bounds), site.cache)
        return
    calls = (
        Call(f"blocks {s.cut.labels.start} to {s.cut.labels.stop - 1} of {name}", profile_stretch, (s,))
        for s in stretches(site, current, row, runs, next_seq)
    )
    yield from engines.run(engine, calls)


def stretches(
    site: Site, current: CurrentSpec, row: BaselineRow, runs: Sequence[range], next_seq: int
) -> Iterator[Stretch]:
    """What each run of blocks is profiled from by any process: rows below `next_seq`, in files."""
    if runs:
        site.events.settle(current.model.name)
        table = site.events.table(current.model.name, "events")
        snapshot = table.snapshot()
        for cut in _cuts(site, current, row, runs, next_seq):
            yield Stretch(cut, table.folder, replace(snapshot, files=snapshot.between(**cut.bounds)))


def _cuts(site: Site, current: CurrentSpec, row: BaselineRow, runs: Sequence[range], next_seq: int) -> Iterator[Cut]:
    assert row.artifact is not None  # a baseline that is not fitted has no blocks
    windows = current.spec.monitors.windows
    for labels in runs:
        bounds: dict[str, Any] = {"from_seq": row.from_seq, "to_seq": next_seq}
        if isinstance(windows, RowWindow):
            first, last = (row.from_seq + _position(label, windows.rows) for label in (labels.start, labels.stop))
            bounds |= {"from_seq": first, "to_seq": min(last, next_seq)}
        else:
            seconds = int(block_length(windows).total_seconds()) // profile_parts(windows)
            begin, end = (datetime.fromtimestamp(label * seconds, tz=UTC) for label in (labels.start, labels.stop))
            bounds |= {"from_ts": begin, "to_ts": end}
        yield Cut(
            bounds=bounds, labels=labels, windows=windows, from_seq=row.from_seq,
            segments=tuple(current.spec.with_role("segment")), artifacts=site.artifacts.root, baseline=row.artifact,
            encoding=encoding_of(site, current.spec),
        )  # fmt: skip


def _runs(labels: Sequence[int], most: int) -> Iterator[range]:
    """Neighbouring labels, up to `most` together."""
    begin = 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[at - 1] + 1 or at - begin >= most:
            yield range(labels[begin], labels[at - 1] + 1)
            begin = at


def _open_label(site: Site, spec: ModelSpec, row: BaselineRow, next_seq: int) -> int:
    """The first block that may still get rows in the ordinary way."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return int(row_labels(np.array([next_seq - row.from_seq]), windows.rows)[0])
    return int(time_blocks(pl.Series([site.clock.now() - GRACE_PERIOD]), windows)[0])


def _position(label: int, window: int) -> int:
    """Rows before a block of rows."""
    number, part = divmod(label, BLOCKS_PER_WINDOW)
    return number * window + part * (window // BLOCKS_PER_WINDOW)


def _same(db: Session, row: BaselineRow) -> BaselineRow:
    """The baseline's row, locked. Raises BusyError where it was fitted again since it was read."""
    stored = db.get_one(BaselineRow, row.id, with_for_update=True)
    if stored.artifact != row.artifact:
        raise BusyError("the baseline was fitted again meanwhile; its blocks are counted by the new bins")
    return stored


def _store(db: Session, row: BaselineRow, labels: range, parts: Sequence[Part]) -> None:
    """Store the profiles of a run of blocks in place of what was stored of them."""
    _same(db, row)
    db.execute(
        delete(StoredProfile).where(
            StoredProfile.baseline_id == row.id, StoredProfile.label >= labels.start,
            StoredProfile.label < labels.stop,
        )
    )  # fmt: skip
    if parts:
        db.execute(insert(StoredProfile), [{"baseline_id": row.id, **asdict(part)} for part in parts])

"""Unflushed rows: rows that are in a log of this machine and not yet in their table, as one process sees them."""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monitor.events import wal, wal_damage, wal_records
from monitor.events.wal_records import Header, Record, RecordGoneError, RowBatch

if TYPE_CHECKING:
    import polars as pl

TableKey = tuple[str, str]  # model, kind
MAX_LAGS: Final = 10_000  # kept for a reader of `take_lags`, who comes every minute or never


class _FollowedLog:
    """A log as its readers see it: the records found so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[TableKey, list[Record]] = defaultdict(list)
        self._segment: Path | None = None
        self._offset = 0

    def restart(self) -> None:
        """Read the log again from its beginning."""
        self.records.clear()
        self._segment, self._offset = None, 0
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since the last call."""
        if self._was_cut():  # another process took damage out of it: what follows the damage lies elsewhere now
            self.records.clear()
            self._segment, self._offset = None, 0
        while True:
            self._read()
            # A segment is complete once a newer one exists. The current one is read first: mostly nothing is new.
            present = wal_records.segments(self.folder)
            newer = [s for s in present if self._segment is None or s.name > self._segment.name]
            if not newer:
                return
            self._read()
            self._segment, self._offset = newer[0], 0
            self._forget_before(int(present[0].stem))

    def _was_cut(self) -> bool:
        try:
            return self._segment is not None and self._segment.stat().st_size < self._offset
        except FileNotFoundError:
            return False

    def _read(self) -> None:
        if self._segment is None:
            return
        try:
            if self._segment.stat().st_size <= self._offset:
                return
            for record in wal_records.records(self._segment, self.folder.name, after=self._offset):
                self.records[record.header.model, record.header.kind].append(record)
                self._offset = record.offset + record.size
        except FileNotFoundError:
            return  # removed: everything in it is flushed

    def _forget_before(self, position: int) -> None:
        for key, found in list(self.records.items()):
            if found and found[0].end <= position:
                self.records[key] = [r for r in found if r.end > position]


class UnflushedRows:
    """This process's log and those of other processes. Rows of its own log stay in memory until they are flushed."""

    def __init__(self, root: Path, *, segment_s: float = wal.SEGMENT_S) -> None:
        self.root, self._segment_s = root, segment_s
        self._guard = threading.RLock()
        self._own: wal.Log | None = None
        self._records: dict[TableKey, dict[int, Record]] = defaultdict(dict)  # of the own log, by end
        self._rows_by_end: dict[int, pl.DataFrame | RowBatch] = {}
        self._waiting: dict[TableKey, int] = defaultdict(int)  # rows
        self._memory: dict[TableKey, float] = defaultdict(float)  # bytes
        self._accepted: dict[int, float] = {}  # arrival of each record of the own log, by end, on the monotonic clock
        self._lags: deque[float] = deque(maxlen=MAX_LAGS)
        self._since: dict[TableKey, float] = {}  # arrival of the first unflushed row, on the monotonic clock
        self._followed: dict[str, _FollowedLog] = {}
        self.memory_bytes = 0.0  # of the rows in memory
        self.held: set[TableKey] = set()  # tables that could not be flushed the last time

    @property
    def names(self) -> list[str]:
        """The names of all logs."""
        with self._guard:
            return [*self._followed, *([self._own.id] if self._own else [])]

    def append(self, header: Header, rows: "pl.DataFrame | RowBatch") -> Record:
        """Write rows to the own log; durable after `sync`.

        Raises:
            StoreFullError, LogFailedError: as `Log.append`.
        """
        with self._guard:
            if self._own is None:
                self._own = wal.Log(self.root, self._segment_s)
        payload = rows.encode() if isinstance(rows, RowBatch) else wal_records.encode(rows)
        record = self._own.append(header, payload)
        with self._guard:
            self._records[header.model, header.kind][record.end] = record
            self._rows_by_end[record.end] = rows
            self._waiting[header.model, header.kind] += header.rows
            self._accepted[record.end] = now = time.monotonic()
            self._since.setdefault((header.model, header.kind), now)
            size = _memory_bytes(rows)
            self.memory_bytes += size
            self._memory[header.model, header.kind] += size
        return record

    def sync(self) -> None:
        """Return once everything that this process has written is on disk."""
        if self._own is not None:
            self._own.sync()

    def refresh(self) -> None:
        """Read what other processes have appended."""
        with self._guard:
            present = set()
            with suppress(FileNotFoundError):
                # Every request does this, and building Path objects would take longer than listing the folder.
                present = {name for name in os.listdir(self.root) if not name.startswith(".")}  # noqa: PTH208
            own = self._own.id if self._own else None
            for name in present - self._followed.keys() - {own}:
                self._followed[name] = _FollowedLog(self.root / name)
            for name in self._followed.keys() - present:
                del self._followed[name]
            for followed in self._followed.values():
                followed.refresh()

    def others(self, key: TableKey) -> list[Record]:
        """Records of other processes, including flushed ones until their segment is removed."""
        with self._guard:
            return [r for f in self._followed.values() for r in f.records.get(key, ())]

    def pending(self, key: TableKey, reached: Mapping[str, int]) -> list[Record]:
        """Records that are not flushed yet, by sequence number.

        Args:
            key: the table.
            reached: for each log the position up to which it is flushed.
        """
        with self._guard:
            found = [*self._records.get(key, {}).values(), *self.others(key)]
        return sorted((r for r in found if r.end > reached.get(r.log, 0)), key=lambda r: r.header.first_seq)

    def frame(self, records: Sequence[Record]) -> "pl.DataFrame":
        """The rows of some records of one table.

        Raises:
            RecordGoneError: one of the records was flushed in the meantime.
        """
        import polars as pl

        frames: list[pl.DataFrame] = []
        batches: list[RowBatch] = []  # consecutive small batches become one frame, not one each
        for record in records:
            found = self._rows(record)
            if batches and not (isinstance(found, RowBatch) and found.columns == batches[0].columns):
                frames.append(wal_records.batches_to_frame(batches))
                batches = []
            if isinstance(found, RowBatch):
                batches.append(found)
            else:
                frames.append(found)
        if batches:
            frames.append(wal_records.batches_to_frame(batches))
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")

    def _rows(self, record: Record) -> "pl.DataFrame | RowBatch":
        with self._guard:
            mine = self._own is not None and record.log == self._own.id
            if mine and record.end in self._rows_by_end:
                return self._rows_by_end[record.end]
        if mine:
            raise RecordGoneError
        return wal_records.read_rows(record)

    def discard_flushed(self, key: TableKey, reached: Mapping[str, int]) -> None:
        """Drop the own records that are in the table, whichever process flushed them.

        Args:
            key: the table.
            reached: for each log the position up to which it is flushed.
        """
        with self._guard:
            if self._own is None:
                return
            position = reached.get(self._own.id, 0)
            flushed = [e for e in self._records.get(key, ()) if e <= position]
            if flushed:
                self._lags.append(time.monotonic() - min(self._accepted[end] for end in flushed))
            for end in flushed:
                del self._accepted[end]
                record = self._records[key].pop(end)
                size = _memory_bytes(self._rows_by_end.pop(end))
                self.memory_bytes -= size
                self._memory[key] -= size
                self._waiting[key] -= record.header.rows
                self._own.mark_flushed(record)
            self._since.pop(key, None)
            if self._records.get(key):
                self._since[key] = time.monotonic()
            else:
                self._records.pop(key, None)
                self._waiting.pop(key, None)
                self._memory.pop(key, None)
            if not self._records:
                self._own.rotate()

    def waiting(self, key: TableKey) -> int:
        """How many rows of the own log wait to be flushed into a table."""
        with self._guard:
            return self._waiting.get(key, 0)

    def held_bytes(self, model: str) -> float:
        """Memory that rows of a model take which could not be flushed the last time; 0 if its tables are flushed."""
        if not self.held:  # each request asks
            return 0.0
        with self._guard:
            return sum(self._memory.get(key, 0.0) for key in self.held if key[0] == model)

    def backlog(self) -> dict[TableKey, tuple[int, float]]:
        """For each table of the own log: how many rows wait to be flushed, and for how many seconds."""
        with self._guard:
            now = time.monotonic()
            return {key: (rows, now - self._since[key]) for key, rows in self._waiting.items()}

    def take_lags(self) -> list[float]:
        """For each flush of the own log since the last call, the seconds that its oldest row had waited."""
        with self._guard:
            lags = list(self._lags)
            self._lags.clear()
        return lags

    @property
    def aside(self) -> Path:
        """The folder for what was damaged in logs."""
        return self.root.parent / wal_damage.ASIDE

    def orphans(self, reached: wal_damage.Reached) -> list["OrphanedLog"]:
        """Logs whose process has died, locked for the caller, who flushes and then removes or releases them."""
        found = []
        with self._guard:
            self.refresh()
            for followed in self._followed.values():
                with suppress(BlockingIOError, FileNotFoundError):
                    found.append(OrphanedLog(followed, self.aside, reached))
        return found

    def close(self) -> None:
        """Release the own log."""
        with self._guard:
            if self._own is not None:
                self._own.close()
                self._own = None


class OrphanedLog:
    """The log of a process that died, locked, its torn tail truncated and its damage taken out."""

    def __init__(self, followed: _FollowedLog, aside: Path, reached: wal_damage.Reached) -> None:
        self.folder = followed.folder
        self._owner = wal.lock_log(self.folder)
        try:
            wal_damage.mend(self.folder, aside, reached)
            followed.restart()
        except BaseException:
            self.release()
            raise

    def tables(self) -> list[TableKey]:
        """The tables that the log has rows of."""
        found = (r.header for s in wal_records.segments(self.folder) for r in wal_records.records(s, ""))
        return sorted({(header.model, header.kind) for header in found})

    def remove(self) -> None:
        """Remove the log; all its rows are in the tables."""
        wal.remove_log(self.folder)

    def release(self) -> None:
        """Unlock the log."""
        os.close(self._owner)


def _memory_bytes(rows: "pl.DataFrame | RowBatch") -> float:
    """Approximate size of rows in memory."""
    if isinstance(rows, RowBatch):
        return sum(200 + sum(60 + len(v) if isinstance(v, str) else 30 for v in row) for row in rows.rows)
    return rows.estimated_size()

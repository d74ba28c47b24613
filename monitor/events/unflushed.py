"""The tail: rows that are in a log of this machine and not in their table yet, as one process sees them."""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monitor.events import wal
from monitor.events.wal import FewRows, Header, Log, Record, RecordGoneError

if TYPE_CHECKING:
    import polars as pl

Key = tuple[str, str]  # model, kind
MAX_LAGS: Final = 10_000  # kept for a reader of `take_lags`, who comes every minute or never


class _Followed:
    """A log as its readers see it: the records found so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[Key, list[Record]] = defaultdict(list)
        self._segment: Path | None = None
        self._offset = 0

    def restart(self) -> None:
        self.records.clear()
        self._segment, self._offset = None, 0
        self.refresh()

    def refresh(self) -> None:
        """Take in what was appended since."""
        while True:
            self._read()
            # A segment is complete once there is a newer one. The newest is tried first: mostly nothing is new.
            present = wal.segments(self.folder)
            newer = [s for s in present if self._segment is None or s.name > self._segment.name]
            if not newer:
                return
            self._read()
            self._segment, self._offset = newer[0], 0
            self._forget_before(int(present[0].stem))

    def _read(self) -> None:
        if self._segment is None:
            return
        try:
            if self._segment.stat().st_size <= self._offset:
                return
            for record in wal.records(self._segment, self.folder.name, after=self._offset):
                self.records[record.header.model, record.header.kind].append(record)
                self._offset = record.offset + record.size
        except FileNotFoundError:
            return  # removed: all of it is folded

    def _forget_before(self, position: int) -> None:
        for key, found in list(self.records.items()):
            if found and found[0].end <= position:
                self.records[key] = [r for r in found if r.end > position]


class Tail:
    """This process's own log and everybody else's. Rows of the own one are kept in memory until they are folded."""

    def __init__(self, root: Path, *, segment_s: float = wal.SEGMENT_S) -> None:
        self.root, self._segment_s = root, segment_s
        self._guard = threading.RLock()
        self._own: Log | None = None
        self._records: dict[Key, dict[int, Record]] = defaultdict(dict)  # own, by end
        self._frames: dict[int, pl.DataFrame | FewRows] = {}
        self._waiting: dict[Key, int] = defaultdict(int)  # rows
        self._accepted: dict[int, float] = {}  # when a record of the own log came, by end, on the monotonic clock
        self._lags: deque[float] = deque(maxlen=MAX_LAGS)
        self._since: dict[Key, float] = {}  # when the first of the rows that wait came, on the monotonic clock
        self._followed: dict[str, _Followed] = {}
        self.bytes = 0.0  # that the rows in memory take

    @property
    def names(self) -> list[str]:
        """Every log there is."""
        with self._guard:
            return [*self._followed, *([self._own.id] if self._own else [])]

    def append(self, header: Header, frame: "pl.DataFrame | FewRows") -> Record:
        """Write rows to the own log; durable after `sync`. Raises what `Log.append` raises."""
        with self._guard:
            if self._own is None:
                self._own = Log(self.root, self._segment_s)
        record = self._own.append(header, frame.encode() if isinstance(frame, FewRows) else wal.encode(frame))
        with self._guard:
            self._records[header.model, header.kind][record.end] = record
            self._frames[record.end] = frame
            self._waiting[header.model, header.kind] += header.rows
            self._accepted[record.end] = now = time.monotonic()
            self._since.setdefault((header.model, header.kind), now)
            self.bytes += _size(frame)
        return record

    def sync(self) -> None:
        """Return once everything this process has written is on disk."""
        if self._own is not None:
            self._own.sync()

    def refresh(self) -> None:
        """Look what other processes have appended."""
        with self._guard:
            present = set()
            with suppress(FileNotFoundError):
                # Paths of them would take longer than the look, and this is done for each request.
                present = {name for name in os.listdir(self.root) if not name.startswith(".")}  # noqa: PTH208
            own = self._own.id if self._own else None
            for name in present - self._followed.keys() - {own}:
                self._followed[name] = _Followed(self.root / name)
            for name in self._followed.keys() - present:
                del self._followed[name]
            for followed in self._followed.values():
                followed.refresh()

    def others(self, key: Key) -> list[Record]:
        """Records of other processes, folded ones among them until their segment goes."""
        with self._guard:
            return [r for f in self._followed.values() for r in f.records.get(key, ())]

    def pending(self, key: Key, reached: Mapping[str, int]) -> list[Record]:
        """Records not folded yet, by sequence number; `reached`: per log the position up to which they are."""
        with self._guard:
            found = [*self._records.get(key, {}).values(), *self.others(key)]
        return sorted((r for r in found if r.end > reached.get(r.log, 0)), key=lambda r: r.header.first_seq)

    def frame(self, records: Sequence[Record]) -> "pl.DataFrame":
        """The rows of records of one table. Raises RecordGoneError when some were folded meanwhile."""
        import polars as pl

        parts: list[pl.DataFrame] = []
        few: list[FewRows] = []  # rows that came a few at a time become one frame, not one each
        for record in records:
            found = self._rows(record)
            if few and not (isinstance(found, FewRows) and found.columns == few[0].columns):
                parts.append(wal.as_frame(few))
                few = []
            if isinstance(found, FewRows):
                few.append(found)
            else:
                parts.append(found)
        if few:
            parts.append(wal.as_frame(few))
        return parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal")

    def _rows(self, record: Record) -> "pl.DataFrame | FewRows":
        with self._guard:
            mine = self._own is not None and record.log == self._own.id
            if mine and record.end in self._frames:
                return self._frames[record.end]
        if mine:
            raise RecordGoneError
        return wal.read_rows(record)

    def settled(self, key: Key, reached: Mapping[str, int]) -> None:
        """Let go of the own records that are in the table, whoever folded them."""
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
                self.bytes -= _size(self._frames.pop(end))
                self._waiting[key] -= record.header.rows
                self._own.folded(record)
            self._since.pop(key, None)
            if self._records.get(key):
                self._since[key] = time.monotonic()
            else:
                self._records.pop(key, None)
                self._waiting.pop(key, None)
            if not self._records:
                self._own.rotate()

    def backlog(self) -> dict[Key, tuple[int, float]]:
        """Of the own log, per table: rows that wait to be folded, and for how many seconds they have."""
        with self._guard:
            now = time.monotonic()
            return {key: (rows, now - self._since[key]) for key, rows in self._waiting.items()}

    def take_lags(self) -> list[float]:
        """Seconds for which the oldest row of each flush since the last call had waited, of the own log's flushes."""
        with self._guard:
            lags = list(self._lags)
            self._lags.clear()
        return lags

    def orphans(self) -> list["Orphan"]:
        """Logs whose process has died, locked for the caller, who folds and then removes or releases them."""
        found = []
        with self._guard:
            self.refresh()
            for followed in self._followed.values():
                with suppress(BlockingIOError, FileNotFoundError):
                    found.append(Orphan(followed))
        return found

    def close(self) -> None:
        with self._guard:
            if self._own is not None:
                self._own.close()
                self._own = None


class Orphan:
    """A dead process's log, locked, and cut where it is not whole."""

    def __init__(self, followed: _Followed) -> None:
        self.folder = followed.folder
        self._owner = wal.own(self.folder)
        wal.cut(self.folder)
        followed.restart()

    def tables(self) -> list[Key]:
        return sorted({(r.header.model, r.header.kind) for s in wal.segments(self.folder) for r in wal.records(s, "")})

    def remove(self) -> None:
        """All of it is in the tables."""
        wal.remove(self.folder)

    def release(self) -> None:
        os.close(self._owner)


def _size(rows: "pl.DataFrame | FewRows") -> float:
    """Bytes in memory, about."""
    if isinstance(rows, FewRows):
        return sum(200 + sum(60 + len(v) if isinstance(v, str) else 30 for v in row) for row in rows.rows)
    return rows.estimated_size()

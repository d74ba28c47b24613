"""One write-ahead log: rows are on disk here before their request is answered, and in a Delta table soon after.

A log belongs to one process, which alone appends to it; `owner` in its folder is locked for as long as that process
lives. A position is a number of bytes from the log's beginning; it never goes back, so "folded up to p" is one number.
A record is `magic, checksums, lengths | header (JSON) | payload`. After a power loss a log ends where the first record
is not whole: what follows was never synced, so it was never acknowledged.
"""

import errno
import fcntl
import io
import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from core.artifacts import fsync_folder
from core.errors import BusyError, IntegrityFailureError
from monitor.errors import StoreFullError

if TYPE_CHECKING:
    import polars as pl

ARROW: Final = "arrow"  # the payload is an Arrow IPC stream
ROWS: Final = "rows"  # or, of a few rows, JSON: [[name, Delta type], ...], [[values of a row], ...]
SEGMENT_BYTES: Final = 64 << 20
SEGMENT_S: Final = 60.0  # a segment goes as a whole, so what is folded must not wait for long beside what is not
COMPRESSED_FROM: Final = 500  # rows; below, compressing takes longer than writing
_HEAD: Final = struct.Struct("<4sIIIQ")  # magic, checksum of the header, of the payload, length of each
_MAGIC: Final = b"AWL1"
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LogFailedError(BusyError):
    """The disk refused a write or a sync; what it holds is no longer known, so nothing more is promised."""

    code = "log_failed"


class RecordGoneError(Exception):
    """The record was folded and its segment removed meanwhile: its rows are in the table."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a reader needs to know of a record without its rows; times in microseconds since 1970."""

    model: str
    kind: str
    first_seq: int
    rows: int
    received_at: int
    low_ts: int
    high_ts: int
    form: str = ARROW


@dataclass(frozen=True, slots=True)
class Record:
    log: str
    header: Header
    end: int  # position behind the record
    segment: Path
    offset: int  # of the payload in its segment
    size: int
    checksum: int


def encode(frame: "pl.DataFrame") -> bytes:
    import polars as pl

    out = io.BytesIO()
    # The oldest form of strings has the rows' bytes alone; views would bring along whatever else their buffers hold,
    # such as a text before it was redacted.
    frame.write_ipc_stream(
        out, compression="lz4" if frame.height >= COMPRESSED_FROM else "uncompressed",
        compat_level=pl.CompatLevel.oldest(),
    )  # fmt: skip
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class FewRows:
    """Rows that are not worth a frame of their own: times are microseconds since 1970, `seq` is the first number on."""

    columns: Sequence[tuple[str, str]]  # name, Delta type
    rows: Sequence[Sequence[Any]]
    first_seq: int

    def encode(self) -> bytes:
        return json.dumps([self.columns, self.rows], ensure_ascii=False, separators=(",", ":")).encode()


def as_frame(parts: Sequence[FewRows]) -> "pl.DataFrame":
    """Rows of the same columns as one frame, with `seq`."""
    import polars as pl

    from monitor.lake.scan import DTYPES

    columns = parts[0].columns
    values = list(zip(*(row for part in parts for row in part.rows), strict=True))
    found = [
        pl.Series(name, values[i], dtype=pl.Int64).cast(DTYPES[kind]) if kind == "timestamp"
        else pl.Series(name, values[i], dtype=DTYPES[kind], strict=False)
        for i, (name, kind) in enumerate(columns)
    ]  # fmt: skip
    numbers = [part.first_seq + i for part in parts for i in range(len(part.rows))]
    return pl.DataFrame([*found, pl.Series("seq", numbers, dtype=pl.Int64)])


def read_rows(record: Record) -> "pl.DataFrame | FewRows":
    """The rows of a record.

    Raises:
        RecordGoneError: folded meanwhile.
        IntegrityFailureError: the bytes are not those that were written.
    """
    import polars as pl

    try:
        with record.segment.open("rb") as file:
            file.seek(record.offset)
            payload = file.read(record.size)
    except FileNotFoundError:
        raise RecordGoneError from None
    if zlib.crc32(payload) != record.checksum:
        raise IntegrityFailureError(
            f"{record.segment} is damaged at byte {record.offset}", segment=str(record.segment), offset=record.offset
        )
    if record.header.form == ROWS:
        columns, rows = json.loads(payload)
        return FewRows([(name, kind) for name, kind in columns], rows, record.header.first_seq)
    return pl.read_ipc_stream(io.BytesIO(payload))


def records(segment: Path, log: str, *, after: int = 0, checked: bool = False) -> Iterator[Record]:
    """The whole records of a segment from the offset `after` on; `checked` reads the payloads too."""
    start = int(segment.stem)
    with segment.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        offset = after
        while offset + _HEAD.size <= length:
            file.seek(offset)
            magic, header_sum, payload_sum, header_size, size = _HEAD.unpack(file.read(_HEAD.size))
            payload_at = offset + _HEAD.size + header_size
            if magic != _MAGIC or payload_at + size > length:
                return
            text = file.read(header_size)
            if zlib.crc32(text) != header_sum or (checked and zlib.crc32(file.read(size)) != payload_sum):
                return
            offset = payload_at + size
            yield Record(log, Header(**json.loads(text)), start + offset, segment, payload_at, size, payload_sum)


def cut(folder: Path) -> None:
    """End a dead log where its first record that is not whole begins; none of that was acknowledged."""
    for number, segment in enumerate(found := segments(folder)):
        whole = 0
        for record in records(segment, folder.name, checked=True):
            whole = record.offset + record.size
        if whole < segment.stat().st_size:
            os.truncate(segment, whole)
            for later in found[number + 1 :]:
                later.unlink()
            return


def segments(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("*.log"))


class Log:
    """The log this process writes. Appends of many threads share one fdatasync (group commit)."""

    def __init__(self, root: Path, segment_s: float) -> None:
        self._segment_s = segment_s
        self.id = str(uuid4())
        draft = root / f".{self.id}"  # not looked at by others until it is locked
        draft.mkdir(parents=True)
        self._owner = own(draft)
        self.folder = draft.rename(root / self.id)
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._failed: str | None = None
        self.position = 0  # behind the newest record
        self._synced = 0
        self._file = -1
        self._segment = self.folder
        self._opened = 0.0
        self._left: dict[Path, int] = {}  # segment -> records not folded yet
        self._open_segment()
        fsync_folder(root)

    def append(self, header: Header, payload: bytes) -> Record:
        """Write a record; it is durable once `sync` has returned for its end.

        Raises:
            StoreFullError: no room on the disk; nothing was written.
            LogFailedError: an earlier write could not be taken back, or a sync failed.
        """
        text = json.dumps({name: getattr(header, name) for name in Header.__slots__}, separators=(",", ":")).encode()
        checksum = zlib.crc32(payload)
        head = _HEAD.pack(_MAGIC, zlib.crc32(text), checksum, len(text), len(payload))
        with self._write:
            self._demand_working()
            full = self.position - int(self._segment.stem) >= SEGMENT_BYTES
            if full or (self._left[self._segment] and time.monotonic() - self._opened >= self._segment_s):
                self._open_segment()
            offset = self.position - int(self._segment.stem)
            try:
                _write_all(self._file, head + text + payload)
            except OSError as error:
                self._take_back(offset)
                raise self._refused(error) from error
            self.position += _HEAD.size + len(text) + len(payload)
            self._left[self._segment] += 1
            payload_at = offset + _HEAD.size + len(text)
            return Record(self.id, header, self.position, self._segment, payload_at, len(payload), checksum)

    def sync(self, end: int | None = None) -> None:
        """Return once everything up to `end` (by default, all that is written) is on disk.

        Raises:
            LogFailedError: the disk did not take it; nobody may be answered.
        """
        end = self.position if end is None else end
        with self._sync:  # whoever comes first syncs for all that have written by then
            if self._synced >= end:
                return
            self._demand_working()
            with self._write:
                reached, file = self.position, os.dup(self._file)
            try:
                os.fdatasync(file)
            except OSError as error:
                # The kernel may have dropped the pages: a second sync would succeed without the data.
                self._failed = error.strerror
                raise LogFailedError(f"the log cannot be synced: {error.strerror}; restart the service") from error
            finally:
                os.close(file)
            self._synced = reached

    def folded(self, record: Record) -> None:
        """Take note that a record is in its table; a segment goes with its last one."""
        with self._write:
            self._left[record.segment] -= 1
            self._remove_empty()

    def rotate(self) -> None:
        """Leave nothing behind of what is folded: an empty segment takes the place of one whose records all are."""
        with self._write:
            if self.position > int(self._segment.stem) and not self._left[self._segment] and self._failed is None:
                self._open_segment()
                self._remove_empty()

    def close(self) -> None:
        """Give the log up. With every record folded its folder goes; otherwise whoever comes next folds the rest."""
        with self._write:
            empty = not any(self._left.values())
            os.close(self._file)
            if empty:
                remove(self.folder)
            os.close(self._owner)

    def _remove_empty(self) -> None:
        for segment in [s for s, left in self._left.items() if not left and s != self._segment]:
            segment.unlink(missing_ok=True)
            del self._left[segment]

    def _open_segment(self) -> None:
        segment = self.folder / f"{self.position:020}.log"
        try:
            file = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._refused(error) from error
        try:
            fsync_folder(self.folder)
            if self._file >= 0:
                os.fdatasync(self._file)  # `sync` will only know the new one
        except OSError as error:
            os.close(file)
            self._failed = error.strerror
            raise LogFailedError(f"the log cannot be synced: {error.strerror}; restart the service") from error
        if self._file >= 0:
            os.close(self._file)
            self._synced = self.position
        self._segment, self._file = segment, file
        self._left[segment] = 0
        self._opened = time.monotonic()

    def _refused(self, error: OSError) -> BusyError:
        if error.errno in _FULL:
            return StoreFullError(
                f"the store's disk is full ({self.folder.parent}): nothing of this was stored; free space "
                "and send it again",
                retry_after_s=30,
            )
        return LogFailedError(f"the log cannot be written: {error.strerror}")

    def _take_back(self, offset: int) -> None:
        try:
            os.ftruncate(self._file, offset)
        except OSError as error:
            self._failed = error.strerror

    def _demand_working(self) -> None:
        if self._failed is not None:
            raise LogFailedError(f"the log failed before ({self._failed}); restart the service")


def own(folder: Path) -> int:
    """Lock a log's folder for as long as the returned handle is open.

    Raises:
        BlockingIOError: its process lives.
    """
    handle = os.open(folder / "owner", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def remove(folder: Path) -> None:
    for segment in segments(folder):
        segment.unlink(missing_ok=True)
    (folder / "owner").unlink(missing_ok=True)
    folder.rmdir()


def sync_file(path: Path) -> None:
    """Make another process's segment durable: an answer may rest on a row that its own process has yet to sync."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # folded: the table holds it, durably
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

"""The write-ahead log of one process: rows are on disk here before their request is answered.

Only the process that owns a log appends to it; `owner` in the log's folder stays locked for as long as that process
lives. Rows move on to a Delta table soon after (flush.py). A position is a number of bytes from the log's beginning
and never decreases, so "flushed up to p" is one number. After a power loss a log ends at its first incomplete record:
what follows was never synced, so it was never acknowledged (wal_damage.py tells that from damage).
"""

import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from core.artifacts import fsync_folder
from core.errors import BusyError
from monitor.errors import StoreFullError
from monitor.events.wal_records import Header, Record, pack, segments

SEGMENT_BYTES: Final = 64 << 20
SEGMENT_S: Final = 60.0  # a segment is removed as a whole: flushed rows must not wait long for rows that are not
_DISK_FULL_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LogFailedError(BusyError):
    """The disk refused a write or a sync: what it holds is unknown, so the log accepts nothing more."""

    code = "log_failed"


class Log:
    """The log that this process writes. Appends of many threads share one fdatasync (group commit)."""

    def __init__(self, root: Path, segment_s: float) -> None:
        self._segment_s = segment_s
        self.id = str(uuid4())
        draft = root / f".{self.id}"  # readers ignore the name until the log is locked
        draft.mkdir(parents=True)
        self._owner = lock_log(draft)
        self.folder = draft.rename(root / self.id)
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._failed: str | None = None
        self.position = 0  # end of the newest record
        self._synced = 0
        self._file = -1
        self._segment = self.folder
        self._opened = 0.0
        self._unflushed: dict[Path, int] = {}  # segment -> records not flushed yet
        self._open_segment()
        fsync_folder(root)

    def append(self, header: Header, payload: bytes) -> Record:
        """Write a record; it is durable once `sync` has returned for its end.

        Raises:
            StoreFullError: the disk is full; nothing was written.
            LogFailedError: an earlier write could not be undone, or a sync failed.
        """
        head, checksum = pack(header, payload)
        with self._write:
            self._require_working()
            full = self.position - int(self._segment.stem) >= SEGMENT_BYTES
            if full or (self._unflushed[self._segment] and time.monotonic() - self._opened >= self._segment_s):
                self._open_segment()
            offset = self.position - int(self._segment.stem)
            try:
                _write_all(self._file, head + payload)
            except OSError as error:
                self._undo_write(offset)
                raise self._write_error(error) from error
            self.position += len(head) + len(payload)
            self._unflushed[self._segment] += 1
            return Record(self.id, header, self.position, self._segment, offset + len(head), len(payload), checksum)

    def sync(self, end: int | None = None) -> None:
        """Return once everything up to `end` (by default, everything written so far) is on disk.

        Raises:
            LogFailedError: the sync failed; no request that waits for it may be acknowledged.
        """
        end = self.position if end is None else end
        with self._sync:  # the first thread to enter syncs for all that have written by then
            if self._synced >= end:
                return
            self._require_working()
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

    def mark_flushed(self, record: Record) -> None:
        """Note that a record is in its table; a segment is removed with its last record."""
        with self._write:
            self._unflushed[record.segment] -= 1
            self._remove_flushed_segments()

    def rotate(self) -> None:
        """Replace the current segment with an empty one if all its records are flushed, so that none of them stays."""
        with self._write:
            if self.position > int(self._segment.stem) and not self._unflushed[self._segment] and self._failed is None:
                self._open_segment()
                self._remove_flushed_segments()

    def close(self) -> None:
        """Release the log. Its folder is removed if every record is flushed; otherwise another process flushes it."""
        with self._write:
            empty = not any(self._unflushed.values())
            os.close(self._file)
            if empty:
                remove_log(self.folder)
            os.close(self._owner)

    def _remove_flushed_segments(self) -> None:
        for segment in [s for s, count in self._unflushed.items() if not count and s != self._segment]:
            segment.unlink(missing_ok=True)
            del self._unflushed[segment]

    def _open_segment(self) -> None:
        segment = self.folder / f"{self.position:020}.log"
        try:
            file = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._write_error(error) from error
        try:
            fsync_folder(self.folder)
            if self._file >= 0:
                os.fdatasync(self._file)  # later calls of `sync` see only the new segment
        except OSError as error:
            os.close(file)
            self._failed = error.strerror
            raise LogFailedError(f"the log cannot be synced: {error.strerror}; restart the service") from error
        if self._file >= 0:
            os.close(self._file)
            self._synced = self.position
        self._segment, self._file = segment, file
        self._unflushed[segment] = 0
        self._opened = time.monotonic()

    def _write_error(self, error: OSError) -> BusyError:
        if error.errno in _DISK_FULL_ERRORS:
            return StoreFullError(
                f"the store's disk is full ({self.folder.parent}): nothing of this was stored; free space "
                "and send it again",
                retry_after_s=30,
            )
        return LogFailedError(f"the log cannot be written: {error.strerror}")

    def _undo_write(self, offset: int) -> None:
        try:
            os.ftruncate(self._file, offset)
        except OSError as error:
            self._failed = error.strerror

    def _require_working(self) -> None:
        if self._failed is not None:
            raise LogFailedError(f"the log failed before ({self._failed}); restart the service")


def lock_log(folder: Path) -> int:
    """Lock a log's folder for as long as the returned handle is open.

    Raises:
        BlockingIOError: the process that owns the log is alive.
    """
    handle = os.open(folder / "owner", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def remove_log(folder: Path) -> None:
    """Remove the folder of a log whose rows are all in their tables."""
    for segment in segments(folder):
        segment.unlink(missing_ok=True)
    (folder / "owner").unlink(missing_ok=True)
    folder.rmdir()


def sync_file(path: Path) -> None:
    """Make another process's segment durable: an answer may depend on a row that its own process has yet to sync."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # flushed: the table holds the rows durably
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

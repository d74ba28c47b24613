"""Copy files into a folder beside the place of a backup, durably, and remember the digest of what was copied."""

import errno
import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.artifacts import UNFINISHED, file_digest, fsync_folder
from core.errors import AppError, InvalidError

_CHUNK: Final = 1 << 20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BackupFailedError(AppError):
    """Nothing was left behind; the message says what to do."""

    code = "backup_failed"


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of a backup; `digest` is that of the bytes that were copied."""

    name: str  # relative, with /
    size: int  # bytes
    digest: str
    modified: int  # microseconds since 1970: upkeep tells by it how long a file has been there


@dataclass
class Copier:
    """What was copied into `root` so far."""

    root: Path
    files: dict[str, CopiedFile] = field(default_factory=dict)

    def copy(self, source: Path, name: str) -> bool:
        """Copy a file as it is now; False if it is gone. A file that is only appended to gives what was there."""
        target = self.root / name
        hasher, size = hashlib.sha256(), 0
        try:
            given = source.open("rb")
        except FileNotFoundError:
            return False
        with given:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy:
                while chunk := given.read(_CHUNK):
                    hasher.update(chunk)
                    copy.write(chunk)
                    size += len(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            modified = os.fstat(given.fileno()).st_mtime_ns // 1000
        date_file(target, modified)
        self.files[name] = CopiedFile(name, size, "sha256:" + hasher.hexdigest(), modified)
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write a file that the backup makes itself."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        self.note(name)

    def note(self, name: str) -> None:
        """Take up a file that another program has written into `root`."""
        path = self.root / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
        found = path.stat()
        self.files[name] = CopiedFile(name, found.st_size, file_digest(path), found.st_mtime_ns // 1000)

    def drop(self, prefix: str) -> None:
        """Forget and remove what was copied under a name."""
        for name in [n for n in self.files if n.startswith(prefix)]:
            (self.root / name).unlink(missing_ok=True)
            del self.files[name]


def date_file(path: Path, modified: int) -> None:
    """Give a file the time at which its original was written, microseconds since 1970."""
    os.utime(path, ns=(1000 * modified, 1000 * modified))


@contextmanager
def beside(place: Path, field_name: str) -> Iterator[Path]:
    """A new folder beside `place`, renamed to it at the end; removed if anything fails.

    What a process that was killed has left there is removed by the next that is given the same place.

    Raises:
        InvalidError: `place` is there and not empty, another process is writing to it, or it cannot be written.
        BackupFailedError: the disk is full.
    """
    require_empty(place, field_name)
    staging = place.parent / f"{UNFINISHED}{place.name}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if staging.exists():
            os.close(_owned(staging))
            shutil.rmtree(staging)
        staging.mkdir(mode=0o700)
        owner = _owned(staging)
    except (BlockingIOError, FileExistsError) as error:
        raise InvalidError(
            f"{field_name} {place} is being written by another process; wait for its end", field=field_name
        ) from error
    except OSError as error:
        raise InvalidError(
            f"{field_name} {place} cannot be written: {error.strerror}; choose another folder", field=field_name
        ) from error
    try:
        with disk_errors(place):
            yield staging
            for folder, _, _ in os.walk(staging, topdown=False):
                fsync_folder(Path(folder))
            os.replace(staging, place)
            fsync_folder(place.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(owner)


def _owned(folder: Path) -> int:
    """Lock a folder for as long as the returned handle is open; BlockingIOError if another process has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def require_empty(place: Path, field_name: str) -> None:
    """Raises InvalidError unless there is nothing at `place`, or an empty folder."""
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise InvalidError(
            f"{field_name} {place} is not empty; name a folder that does not exist yet", field=field_name,
            value=str(place),
        )  # fmt: skip


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Say what to do when the disk is full.

    Raises:
        BackupFailedError: it is, or it failed.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise BackupFailedError(
            f"the database could not be copied to {place.parent}: {error}; nothing was left there. Look for free "
            "space, and try again", path=str(place),
        ) from error  # fmt: skip
    except OSError as error:
        if error.errno in _FULL:
            raise BackupFailedError(
                f"the disk of {place.parent} is full: nothing was left there; free space or choose another disk, and "
                "try again", path=str(place),
            ) from error  # fmt: skip
        raise

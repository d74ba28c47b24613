"""Content-addressed files: datasets, adapters, reports, explanations. A name is the digest of the content."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from core.errors import IntegrityFailureError, NotFoundError

_CHUNK = 1 << 20
UNFINISHED = ".new-"  # how the names of files and folders begin that are being written
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def content_digest(content: bytes) -> str:
    """`sha256:` digest of bytes: the name they are kept under."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    """`sha256:` digest of a file's bytes."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def folder_digest(folder: Path, names: Iterable[str] | None = None) -> str:
    """Digest over the sorted (relative path, file digest) pairs of a folder."""
    paths = (
        sorted(folder / n for n in names) if names is not None else sorted(p for p in folder.rglob("*") if p.is_file())
    )
    lines = "".join(f"{file_digest(p)}  {p.relative_to(folder).as_posix()}\n" for p in paths)
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make renames and creations inside a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a power loss."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file or nothing: temporary file, fsync, rename, fsync of the folder."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _fsync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            fsync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


class ArtifactStore:
    """Files and folders under `root`, addressed by digest; reading checks the digest."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError(
                f"{digest[:100]!r} is no digest; write sha256: and 64 hexadecimal digits", digest=digest
            )
        name = digest.removeprefix("sha256:")
        return self.root / name[:2] / name

    def put(self, content: bytes) -> str:
        """Store bytes; returns their digest. Storing the same content twice keeps one copy."""
        digest = content_digest(content)
        if not (place := self._place(digest)).exists():
            write_durably(place, content)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a copy of a file, of any size; returns the digest of what was copied."""
        make_folder(self.root)
        hasher = hashlib.sha256()
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as copy, path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            os.chmod(temporary, 0o644)
            digest = "sha256:" + hasher.hexdigest()
            if not (place := self._place(digest)).exists():
                make_folder(place.parent)
                os.replace(temporary, place)
                fsync_folder(place.parent)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return digest

    def put_folder(self, folder: Path) -> str:
        """Store a copy of a folder (an adapter, a model); returns the digest over the files that were copied."""
        make_folder(self.root)
        staging = Path(tempfile.mkdtemp(dir=self.root, prefix=UNFINISHED))
        try:
            shutil.copytree(folder, staging, dirs_exist_ok=True)
            digest = folder_digest(staging)
            if not (place := self._place(digest)).exists():
                _fsync_tree(staging)
                make_folder(place.parent)
                try:
                    os.replace(staging, place)
                except OSError:
                    if not place.is_dir():  # otherwise another process has just stored the same folder
                        raise
                fsync_folder(place.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return digest

    def drop_unfinished(self, before: float) -> int:
        """Remove what a process that was killed had begun to store, and return how many files and folders that were.

        Args:
            before: Unix time; younger ones may be under way.
        """
        count = 0
        for path in (*self.root.glob(f"{UNFINISHED}*"), *self.root.glob(f"??/{UNFINISHED}*")):
            with suppress(FileNotFoundError):  # it has just been finished
                if path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    count += 1
        return count

    def has(self, digest: str) -> bool:
        """Whether an artifact with this digest is stored."""
        return self._place(digest).exists()

    def path(self, digest: str) -> Path:
        """Where an artifact lies, without reading it.

        Raises:
            NotFoundError: no artifact has this digest.
        """
        place = self._place(digest)
        if not place.exists():
            raise NotFoundError(f"artifact {digest} is not in {self.root}", digest=digest)
        return place

    def delete(self, digest: str) -> bool:
        """Remove an artifact for good, durably; False where it was gone already. Whoever names it must say why."""
        place = self._place(digest)
        try:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink()
        except FileNotFoundError:
            return False
        fsync_folder(place.parent)
        return True

    def get(self, digest: str) -> bytes:
        """The bytes of a file artifact, checked against the digest.

        Raises:
            NotFoundError: no artifact has this digest.
            IntegrityFailureError: the stored bytes have changed.
        """
        content = self.path(digest).read_bytes()
        found = "sha256:" + hashlib.sha256(content).hexdigest()
        if found != digest:
            raise IntegrityFailureError(
                f"artifact {digest} was changed on disk: it now hashes to {found}", digest=digest
            )
        return content

    def check_folder(self, digest: str) -> Path:
        """Path of a folder artifact after checking every file in it.

        Raises:
            IntegrityFailureError: a file in the folder has changed.
        """
        place = self.path(digest)
        found = folder_digest(place)
        if found != digest:
            raise IntegrityFailureError(f"artifact folder {digest} was changed on disk: now {found}", digest=digest)
        return place

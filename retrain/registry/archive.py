"""A version's adapter as one file, for serving on another machine: the same bytes for the same adapter."""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from monitor.site import Site

MEDIA_TYPE: Final = "application/x-tar"
BLOCK: Final = 1 << 20
_PAD: Final = 512


@dataclass(frozen=True, slots=True)
class Archive:
    """`sha256` is of the file that `parts` gives; `adapter` is the digest under which the folder is registered."""

    adapter: str
    sha256: str
    size: int  # bytes
    folder: Path

    def parts(self) -> Iterator[bytes]:
        return _parts(self.folder)


def archive_of(site: Site, adapter: str) -> Archive:
    """Raises NotFoundError, IntegrityFailureError: the adapter is gone, or was changed on disk."""
    folder = site.artifacts.check_folder(adapter)
    sha256, size = _measured(adapter, folder)
    return Archive(adapter, sha256, size, folder)


@lru_cache(maxsize=64)
def _measured(_adapter: str, folder: Path) -> tuple[str, int]:
    """Digest and size; the folder's content is what its digest says, so this never changes."""
    hasher, size = hashlib.sha256(), 0
    for part in _parts(folder):
        hasher.update(part)
        size += len(part)
    return hasher.hexdigest(), size


def _parts(folder: Path) -> Iterator[bytes]:
    """A tar file in the USTAR format: names in order, no owner, no time, so equal folders give equal bytes."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        info.size, info.mode = path.stat().st_size, 0o644
        yield info.tobuf(tarfile.USTAR_FORMAT)
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
        yield b"\0" * (-info.size % _PAD)
    yield b"\0" * (2 * _PAD)

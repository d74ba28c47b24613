"""Anchors that keep files: a folder, or an object store such as S3."""

from dataclasses import dataclass
from pathlib import Path

from core.artifacts import write_durably
from core.object_store import StoreError, put_new
from governance.anchors.base import Anchored, AnchorError


@dataclass(frozen=True)
class FolderAnchor:
    """A folder, best on another machine's disk."""

    folder: Path
    all_notes: bool = True

    def take(self, checkpoint: Anchored) -> None:
        path = self.folder / checkpoint.file_name
        try:
            if path.exists():
                return _same(path.read_bytes(), checkpoint)
            write_durably(path, checkpoint.note)
        except OSError as error:
            raise AnchorError(f"the folder cannot be written: {error.strerror or error}") from error


@dataclass(frozen=True)
class ObjectStoreAnchor:
    """A bucket and a prefix in it; access comes from the cloud's own environment variables."""

    uri: str
    all_notes: bool = True

    def take(self, checkpoint: Anchored) -> None:
        try:
            found = put_new(self.uri, checkpoint.file_name, checkpoint.note)
        except StoreError as error:
            raise AnchorError(str(error)) from error
        if found is not None:
            _same(found, checkpoint)


def _same(stored: bytes, checkpoint: Anchored) -> None:
    if stored != checkpoint.note:
        raise AnchorError(
            f"{checkpoint.file_name} is there already with another content: two logs use this anchor, or one of them "
            "was rewritten; compare them with `assay verify --against`"
        )

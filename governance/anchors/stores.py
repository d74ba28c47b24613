"""Anchors that keep files: a folder, or an object store such as S3."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.artifacts import write_durably
from governance.anchors.base import Anchored, AnchorError

REQUEST_S: Final = 10.0
CONNECT_S: Final = 5.0


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
        import pyarrow as pa
        from pyarrow.fs import FileSystem, FileType, S3FileSystem

        try:
            store, prefix = FileSystem.from_uri(self.uri)
            if isinstance(store, S3FileSystem):  # a URI cannot set timeouts
                made: Any = store.__reduce__()
                store = made[0]({**made[1][0], "request_timeout": REQUEST_S, "connect_timeout": CONNECT_S})
            path = f"{prefix.rstrip('/')}/{checkpoint.file_name}"
            if store.get_file_info(path).type == FileType.File:
                with store.open_input_stream(path) as file:
                    return _same(file.read(), checkpoint)
            with store.open_output_stream(path) as file:
                file.write(checkpoint.note)
        except (pa.ArrowException, OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AnchorError(f"the object store refuses or does not answer: {first[:300]}") from error


def _same(stored: bytes, checkpoint: Anchored) -> None:
    if stored != checkpoint.note:
        raise AnchorError(
            f"{checkpoint.file_name} is there already with another content: two logs use this anchor, or one of them "
            "was rewritten; compare them with `assay verify --against`"
        )

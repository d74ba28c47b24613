"""Write files below the URI of a folder or an object store; access comes from the cloud's own environment variables."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from core.artifacts import write_durably

SCHEMES: Final = ("file", "s3", "gs", "gcs", "abfs")
REQUEST_S: Final = 10.0
CONNECT_S: Final = 5.0


class StoreError(Exception):
    """A file did not arrive. The message is plain, and names no address that could hold a password."""


def folder_of(uri: str) -> Path | None:
    """The folder that a `file:` URI names; None of an object store."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def put_new(uri: str, name: str, content: bytes) -> bytes | None:
    """Write a file that is not there yet; of one that is there, leave it and return what it holds.

    Args:
        uri: of a folder, or a bucket with a prefix.
        name: relative to it, with `/` between folders.

    Raises:
        StoreError: the store refuses, or does not answer in time.
    """
    folder = folder_of(uri)
    if folder is not None:
        try:
            path = folder / name
            if path.exists():
                return path.read_bytes()
            write_durably(path, content)
        except OSError as error:
            raise StoreError(f"the folder cannot be written: {error.strerror or error}") from error
        return None
    return _put_object(uri, name, content)


def _put_object(uri: str, name: str, content: bytes) -> bytes | None:
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FileType, S3FileSystem

    try:
        store, prefix = FileSystem.from_uri(uri)
        if isinstance(store, S3FileSystem):  # a URI cannot set timeouts
            made: Any = store.__reduce__()
            store = made[0]({**made[1][0], "request_timeout": REQUEST_S, "connect_timeout": CONNECT_S})
        path = f"{prefix.rstrip('/')}/{name}"
        if store.get_file_info(path).type == FileType.File:
            with store.open_input_stream(path) as file:
                found: bytes = file.read()
                return found
        with store.open_output_stream(path) as file:
            file.write(content)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"the object store refuses or does not answer: {first[:300]}") from error
    return None

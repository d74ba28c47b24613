"""Find the files for `assay ingest`: one file, a folder of files, or the same in an object store."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from core.errors import InvalidError
from core.settings import azure_keys

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

FORMATS: Final[Mapping[str, str]] = {
    ".parquet": "parquet", ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".arrow": "arrow",
    ".feather": "arrow",
}  # fmt: skip
Compression = Literal["gzip", "zstd"]
COMPRESSIONS: Final[Mapping[str, Compression]] = {".gz": "gzip", ".zst": "zstd"}
_FORMAT_HELP: Final = "give .parquet, .arrow, .feather, .csv, .ndjson or .jsonl; the last three also as .gz or .zst"
_CHUNK: Final = 1 << 20
_URI_HELP: Final = (
    "write it like s3://bucket/folder, gs://bucket/folder, abfs://container@account.dfs.core.windows.net/folder or "
    "file:///folder"
)
# An object store may need long to list a page of a thousand names. Arrow's own timeouts are 3 seconds for S3, and a
# quarter of an hour for Google Cloud Storage if nothing answers.
_REQUEST_TIMEOUT_S: Final = 60
_CONNECT_TIMEOUT_S: Final = 10
# name:password@ (but not host:port), and the secrets in SAS tokens and Azure URIs.
_SECRET_PATTERN: Final = re.compile(r"://[^:/@?]*:(?!\d+/)[^@]*@|[?&](?:sig|client_secret)=")


@dataclass(frozen=True)
class UploadSource:
    """One file: its location, the marks by which a change is detected, and its format."""

    name: str  # relative to the folder in which it was found
    path: str
    size: int
    changed: str  # time of the last change, in nanoseconds
    format: str
    compression: Compression | None
    partitions: Mapping[str, str]  # from folders named column=value
    store: "FileSystem"

    @contextmanager
    def opened(self) -> Iterator[tuple[Any, Any]]:
        """Open the decompressed content, and the file itself, whose position shows the progress."""
        import pyarrow as pa

        with self.store.open_input_file(self.path) as file:
            if self.compression is None:
                yield file, file
            else:
                with pa.CompressedInputStream(file, self.compression) as stream:
                    yield stream, file

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes, in hexadecimal."""
        digest = hashlib.sha256()
        with self.store.open_input_stream(self.path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


def sources(given: str) -> list[UploadSource]:
    """Return the files at a path or URI, in order of their names.

    Raises:
        InvalidError: the path does not exist, or has no file that can be read.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSelector, FileType

    store, path = _located(given)
    try:
        root = store.get_file_info(path)
        if root.type == FileType.NotFound:
            raise InvalidError(
                f"file: {given} does not exist; give a file, a folder or a URI", field="file", value=given
            )
        if root.type == FileType.File:
            return [_source(store, root, PurePosixPath(root.path).parent)]
        below = store.get_file_info(FileSelector(path, recursive=True))
    except (pa.ArrowException, OSError) as error:
        check = "; check the address, and the credentials in the environment" if "://" in given else ""
        raise InvalidError(
            f"file: {given} cannot be read: {_first_line(error)}{check}", field="file", value=given
        ) from error  # fmt: skip
    if any(PurePosixPath(found.path).name == "_delta_log" for found in below):
        below = _delta_files(given, store, path, below)
    files = sorted((f for f in below if f.type == FileType.File and not _hidden(f.path, path)), key=lambda f: f.path)
    if not files:
        raise InvalidError(f"file: {given} holds no file; {_FORMAT_HELP}", field="file", value=given)
    return [_source(store, found, PurePosixPath(path)) for found in files]


def _delta_files(given: str, store: "FileSystem", path: str, below: list["FileInfo"]) -> list["FileInfo"]:
    """The files that are part of a Delta table now; its folder also holds those that no longer are.

    Raises:
        InvalidError: the table is in an object store, or its rows are not just those of its files.
    """
    from urllib.parse import unquote

    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError
    from pyarrow.fs import LocalFileSystem

    if not isinstance(store, LocalFileSystem):
        raise InvalidError(
            f"file: {given} is a Delta table in an object store, which also holds files that are no longer part of it; "
            "copy it here, or export it to Parquet", field="file", value=given,
        )  # fmt: skip
    try:
        table = DeltaTable(path)
        features = set(table.protocol().reader_features or ())
        current = {PurePosixPath(unquote(uri)).name for uri in table.file_uris()}
    except (DeltaError, OSError) as error:
        raise InvalidError(
            f"file: {given} cannot be read as a Delta table: {_first_line(error)}", field="file", value=given
        ) from error
    if strange := features & {"deletionVectors", "columnMapping"}:
        raise InvalidError(
            f"file: {given} is a Delta table with {' and '.join(sorted(strange))}; export it to Parquet first",
            field="file", value=given,
        )  # fmt: skip
    return [found for found in below if PurePosixPath(found.path).name in current]


def _located(given: str) -> tuple["FileSystem", str]:
    import pyarrow as pa
    from pyarrow.fs import LocalFileSystem

    if "://" not in given:
        return LocalFileSystem(), given
    if _SECRET_PATTERN.search(given):  # the message does not quote it
        raise InvalidError(
            "file: the URI holds a password or key, which the progress file would store; leave it out and set "
            "the cloud's own environment variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", field="file",
        )  # fmt: skip
    try:
        store, path = _opened(given)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidError(
            f"file: {given} cannot be read as a URI: {_first_line(error)}; {_URI_HELP}", field="file", value=given
        ) from error
    if not path.strip("/"):
        raise InvalidError(f"file: {given} names no bucket or folder; {_URI_HELP}", field="file", value=given)
    return store, path


def _opened(uri: str) -> tuple["FileSystem", str]:
    """Open the store of a URI, with timeouts that suit slow stores and fail soon on absent ones."""
    from pyarrow.fs import AzureFileSystem, FileSystem, S3FileSystem

    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={_REQUEST_TIMEOUT_S}"
    made: Any
    store, path = FileSystem.from_uri(uri)
    if isinstance(store, S3FileSystem):
        # An S3 URI cannot set timeouts. `__reduce__` gives the other arguments that the store was made with.
        made = store.__reduce__()
        store = made[0]({**made[1][0], "request_timeout": _REQUEST_TIMEOUT_S, "connect_timeout": _CONNECT_TIMEOUT_S})
    if isinstance(store, AzureFileSystem) and (
        keys := azure_keys()
    ):  # without a key Arrow looks for a managed identity
        made = store.__reduce__()
        store = made[0]({**made[1][0], **keys})
    return store, path


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _hidden(path: str, root: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(path).relative_to(root).parts)


def _source(store: "FileSystem", found: "FileInfo", root: PurePosixPath) -> UploadSource:
    path = PurePosixPath(found.path)
    suffixes = [s.lower() for s in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    file_format = (
        FORMATS.get(suffixes[-2 if compression else -1]) if len(suffixes) > (1 if compression else 0) else None
    )
    if file_format is None or (compression and file_format in ("parquet", "arrow")):
        raise InvalidError(f"file {path.name}: unknown kind of file; {_FORMAT_HELP}", field="file", value=path.name)
    name = path.relative_to(root)
    partitions = dict(part.split("=", 1) for part in name.parts[:-1] if "=" in part)
    return UploadSource(
        str(name), found.path, int(found.size or 0), str(found.mtime_ns), file_format, compression, partitions, store
    )

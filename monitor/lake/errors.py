"""Errors of a Delta table that only its callers know how to handle, and the one that a full disk becomes."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from core.errors import ConflictError, IntegrityFailureError
from monitor.errors import StoreFullError

_DISK_FULL_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FULL_WORDS: Final = ("no space left", "file too large", "quota")  # polars keeps only the text of an OSError


class FileReplacedError(ConflictError):
    """Another commit replaced a file of the table."""

    code = "file_replaced"


class VersionGoneError(ConflictError):
    """The table has no such version."""

    code = "version_gone"


class DataFileDamagedError(IntegrityFailureError):
    """Data files that a version of the table names are gone or cannot be read."""

    code = "data_file_damaged"

    def __init__(self, table: Path, files: Sequence[str]) -> None:
        named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        super().__init__(
            f"{len(files)} data file{'s' if len(files) > 1 else ''} of the table {table.parent.name}/{table.name} "
            f"cannot be read: {named}; restore from a backup, the rows in them are nowhere else",
            files=list(files[:20]),
        )


@contextmanager
def reporting_full_disk(folder: Path) -> Iterator[None]:
    """Raise StoreFullError in place of whatever error a full disk causes."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        text = str(error).lower()
        if getattr(error, "errno", None) in _DISK_FULL_ERRORS or any(words in text for words in _DISK_FULL_WORDS):
            raise StoreFullError(
                f"the store's disk is full ({folder}): nothing of this was stored; free space and send it again",
                retry_after_s=30,
            ) from error
        raise

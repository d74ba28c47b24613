"""Data files of a Delta table: durable before a log entry names them."""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import polars as pl

from core.artifacts import fsync_folder
from core.clock import SystemClock
from monitor.lake.log import DeltaLog, fsync_file, milliseconds
from monitor.lake.snapshot import DataFile

STATISTICS_COLUMNS: Final = ("seq", "ts", "received_at")  # columns whose minima and maxima go into the log
PARTITION: Final = "date"
MAX_ROW_GROUP_ROWS: Final = 50_000  # a row group is the smallest part of a file that is read
MAX_ROW_GROUP_BYTES: Final = 32 << 20  # in memory


def write(log: DeltaLog, part: pl.DataFrame, day: date) -> DataFile:
    """Write rows of one day as a new file that no log entry names yet.

    Args:
        log: the log of the table that the file belongs to.
        part: rows without the partition column.
        day: the partition.
    """
    relative = f"{PARTITION}={day.isoformat()}/part-{uuid4()}.parquet"
    path = log.table / relative
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        log.note_created(path.parent)
    try:
        rows = max(1, MAX_ROW_GROUP_BYTES * part.height // max(1, int(part.estimated_size())))
        part.write_parquet(path, compression="zstd", row_group_size=min(MAX_ROW_GROUP_ROWS, rows))
        fsync_file(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
    log.sync_entry_once(path.parent)
    low: dict[str, Any] = {c: part[c].min() if c in part.columns else None for c in STATISTICS_COLUMNS}
    high: dict[str, Any] = {c: part[c].max() if c in part.columns else None for c in STATISTICS_COLUMNS}
    return DataFile(relative, day, part.height, path.stat().st_size, low, high)


def fsync_folders(table: Path, names: Iterable[str]) -> None:
    """Make the removal of files durable; `names` are their paths relative to the table's folder."""
    for folder in {(table / name).parent for name in names}:
        fsync_folder(folder)


def touch(log: DeltaLog, file: DataFile) -> None:
    """Set a file's modification time to now; raises FileNotFoundError if it no longer exists."""
    os.utime(log.table / file.path)


def add(file: DataFile, *, changes: bool = True) -> dict[str, Any]:
    """The log action that adds a file to the table; `changes`: it has rows that the table did not have."""
    statistics = {
        "numRecords": file.rows,
        "minValues": _json_values(file.low),
        "maxValues": _json_values(file.high),
        "nullCount": {},
    }
    return {
        "add": {
            "path": file.path, "partitionValues": _partition(file), "size": file.size,
            "modificationTime": milliseconds(SystemClock().now()), "dataChange": changes,
            "stats": json.dumps(statistics),
        }
    }  # fmt: skip


def remove(file: DataFile, *, changes: bool) -> dict[str, Any]:
    """The log action that removes a file from the table; `changes`: the table loses its rows."""
    return {
        "remove": {
            "path": file.path, "deletionTimestamp": milliseconds(SystemClock().now()), "dataChange": changes,
            "extendedFileMetadata": True, "partitionValues": _partition(file), "size": file.size,
        }
    }  # fmt: skip


def read(row: Mapping[str, Any]) -> DataFile:
    """The file that a row of deltalake's flattened add actions describes."""
    return DataFile(
        row["path"], row.get(f"partition.{PARTITION}"), row["num_records"], row["size_bytes"],
        {c: row.get(f"min.{c}") for c in STATISTICS_COLUMNS}, {c: row.get(f"max.{c}") for c in STATISTICS_COLUMNS},
    )  # fmt: skip


def _partition(file: DataFile) -> dict[str, str | None]:
    return {PARTITION: None if file.day is None else file.day.isoformat()}


def _json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }

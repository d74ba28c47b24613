"""Data files of a Delta table: written so that they are on disk before a log entry names them."""

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

STATISTICS: Final = ("seq", "ts", "received_at")  # columns whose extremes go into the log
PARTITION: Final = "date"
GROUP_ROWS: Final = 50_000  # of a row group, the least that is read of a file
GROUP_BYTES: Final = 32 << 20  # of the same, in memory


def write(log: DeltaLog, part: pl.DataFrame, day: date) -> DataFile:
    """Write rows of one day as a new file; nothing names it yet.

    Args:
        part: rows without the partition column.
    """
    relative = f"{PARTITION}={day.isoformat()}/part-{uuid4()}.parquet"
    path = log.table / relative
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        log.made(path.parent)
    try:
        rows = max(1, GROUP_BYTES * part.height // max(1, int(part.estimated_size())))
        part.write_parquet(path, compression="zstd", row_group_size=min(GROUP_ROWS, rows))
        fsync_file(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
    log.name(path.parent)
    low: dict[str, Any] = {c: part[c].min() if c in part.columns else None for c in STATISTICS}
    high: dict[str, Any] = {c: part[c].max() if c in part.columns else None for c in STATISTICS}
    return DataFile(relative, day, part.height, path.stat().st_size, low, high)


def fsync_folders(table: Path, names: Iterable[str]) -> None:
    """Make the removal of files durable."""
    for folder in {(table / name).parent for name in names}:
        fsync_folder(folder)


def touch(log: DeltaLog, file: DataFile) -> None:
    """Set a file's time to now; raises FileNotFoundError where it is gone."""
    os.utime(log.table / file.path)


def add(file: DataFile, *, changes: bool = True) -> dict[str, Any]:
    """The log action that makes a file part of the table; `changes`: it brings rows the table did not have."""
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
    """The log action that takes a file out of the table; `changes`: rows go with it."""
    return {
        "remove": {
            "path": file.path, "deletionTimestamp": milliseconds(SystemClock().now()), "dataChange": changes,
            "extendedFileMetadata": True, "partitionValues": _partition(file), "size": file.size,
        }
    }  # fmt: skip


def read(row: Mapping[str, Any]) -> DataFile:
    """A file from a row of deltalake's flattened add actions."""
    return DataFile(
        row["path"], row.get(f"partition.{PARTITION}"), row["num_records"], row["size_bytes"],
        {c: row.get(f"min.{c}") for c in STATISTICS}, {c: row.get(f"max.{c}") for c in STATISTICS},
    )  # fmt: skip


def _partition(file: DataFile) -> dict[str, str | None]:
    return {PARTITION: None if file.day is None else file.day.isoformat()}


def _json_values(extremes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in extremes.items()
        if value is not None
    }

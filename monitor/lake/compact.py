"""Compaction: the many small files of a day's partition are merged into a few, in order of `seq`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import polars as pl

from core.errors import BusyError
from core.logs import logger
from monitor.lake.datafile import PARTITION
from monitor.lake.errors import FileReplacedError
from monitor.lake.snapshot import DataFile, Snapshot
from monitor.lake.table import LakeTable

TARGET_ROWS: Final = 500_000
TARGET_BYTES: Final = 64 << 20  # on disk; a group that is merged takes several times that in memory
MAX_SMALL_FILES: Final = 100  # in one partition; more of them are merged without waiting for the hourly upkeep
# A file with more than this many times the rows of all smaller files of its day together is not merged: every late row
# would cause nearly the same rows to be written again.
MAX_SIZE_RATIO: Final = 4

log = logger(__name__)
Cause = Literal["compaction", "retention", "erasure"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Files of one table that one commit replaced."""

    model: str
    table: str  # events | outcomes | quarantine
    version: int  # that the commit made
    removed: tuple[str, ...]  # paths relative to the table's folder
    added: tuple[str, ...]
    rows_before: int
    rows: int  # in `added`
    cause: Cause


def is_small(file: DataFile) -> bool:
    """Whether a file has less than half of the target size, in rows and in bytes."""
    return 2 * file.rows < TARGET_ROWS and 2 * file.size < TARGET_BYTES


def small_files(snapshot: Snapshot) -> dict[date, list[DataFile]]:
    """Small files by day."""
    found: dict[date, list[DataFile]] = {}
    for file in snapshot.files:
        if file.day is not None and is_small(file):
            found.setdefault(file.day, []).append(file)
    return found


def merge_groups(snapshot: Snapshot) -> Iterator[list[DataFile]]:
    """Groups of files to merge, each group from one day and at most of the target size."""
    for _, files in sorted(small_files(snapshot).items()):
        group: list[DataFile] = []
        for file in sorted(_without_dominant_files(files), key=lambda f: f.low.get("seq") or 0):
            rows, size = sum(f.rows for f in group) + file.rows, sum(f.size for f in group) + file.size
            if group and (rows > TARGET_ROWS or size > TARGET_BYTES):
                if len(group) > 1:
                    yield group
                group = []
            group.append(file)
        if len(group) > 1:
            yield group


def _without_dominant_files(files: Sequence[DataFile]) -> list[DataFile]:
    """The files except those with more than MAX_SIZE_RATIO times the rows of all smaller ones together."""
    by_size = sorted(files, key=lambda f: f.rows)
    below, kept = 0, list[DataFile]()
    for file in by_size:
        if kept and file.rows > MAX_SIZE_RATIO * below:
            break
        kept.append(file)
        below += file.rows
    return kept


def compact(
    model: str, kind: str, table: LakeTable, locked: Callable[[], AbstractContextManager[None]]
) -> Iterator[Rewrite]:
    """Merge small files, group by group; the table can be read and appended to meanwhile.

    Args:
        model, kind: which table it is, for the records of what was done.
        table: the table.
        locked: holds the lock on the model's tables; entered once for each commit.

    Yields:
        Each commit.
    """
    before = table.snapshot()
    for group in merge_groups(before):
        merged = _merged(table, before, group)
        added = table.write([merged])
        try:
            with locked():
                rows = sum(f.rows for f in group)
                now = table.swap(group, added, operation="OPTIMIZE", changes=merged.height != rows)
        except FileReplacedError:  # rows were erased meanwhile; the rest of the group is merged next time
            table.discard(added)
            log.info("compaction overtaken", model=model, table=kind, files=len(group))
            continue
        except BusyError:
            table.discard(added)
            raise
        yield Rewrite(
            model, kind, now.version, tuple(f.path for f in group), tuple(f.path for f in added), rows,
            merged.height, "compaction",
        )  # fmt: skip


def _merged(table: LakeTable, snapshot: Snapshot, group: Sequence[DataFile]) -> pl.DataFrame:
    rows = table.scan_files(snapshot, group).collect().sort("seq")
    whole = table.identity.of(rows).whole
    if whole.n_unique() < rows.height:
        rows = rows.filter(whole.is_first_distinct())
    return rows.with_columns(pl.lit(group[0].day).alias(PARTITION))

"""Compaction: the many small files that arrival leaves in a day's partition become few, in order of `seq`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import polars as pl

from core.errors import BusyError
from core.logs import logger
from monitor.lake.datafile import PARTITION
from monitor.lake.snapshot import DataFile, Snapshot
from monitor.lake.table import FileReplacedError, Table

TARGET_ROWS: Final = 500_000
TARGET_BYTES: Final = 64 << 20  # on disk; what is merged at once lies in memory, some times that
CROWDED: Final = 100  # small files in one partition: merged before the hour is over
# A file that holds this many times the rows of all smaller ones of its day is left alone: merging it would write
# nearly the same rows again and again for every late row.
UNEVEN: Final = 4

log = logger(__name__)
Cause = Literal["compaction", "retention", "erasure"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Files of one table that were exchanged in one commit."""

    model: str
    table: str  # events | outcomes | quarantine
    version: int  # the commit
    removed: tuple[str, ...]  # paths relative to the table's folder
    added: tuple[str, ...]
    rows_before: int
    rows: int  # in `added`
    cause: Cause


def is_small(file: DataFile) -> bool:
    return 2 * file.rows < TARGET_ROWS and 2 * file.size < TARGET_BYTES


def small_files(snapshot: Snapshot) -> dict[date, list[DataFile]]:
    """Small files by day."""
    found: dict[date, list[DataFile]] = {}
    for file in snapshot.files:
        if file.day is not None and is_small(file):
            found.setdefault(file.day, []).append(file)
    return found


def plan(snapshot: Snapshot) -> Iterator[list[DataFile]]:
    """Groups of files to merge, each of one day and of at most the target size."""
    for _, files in sorted(small_files(snapshot).items()):
        group: list[DataFile] = []
        for file in sorted(_even(files), key=lambda f: f.low.get("seq") or 0):
            rows, size = sum(f.rows for f in group) + file.rows, sum(f.size for f in group) + file.size
            if group and (rows > TARGET_ROWS or size > TARGET_BYTES):
                if len(group) > 1:
                    yield group
                group = []
            group.append(file)
        if len(group) > 1:
            yield group


def _even(files: Sequence[DataFile]) -> list[DataFile]:
    """Without the files that dwarf the rest of their day."""
    by_size = sorted(files, key=lambda f: f.rows)
    below, kept = 0, list[DataFile]()
    for file in by_size:
        if kept and file.rows > UNEVEN * below:
            break
        kept.append(file)
        below += file.rows
    return kept


def compact(
    model: str, kind: str, table: Table, locked: Callable[[], AbstractContextManager[None]]
) -> Iterator[Rewrite]:
    """Merge small files, group by group; rows come in and are read meanwhile.

    Args:
        locked: holds back other commits to the model's tables; taken for each commit alone.
    """
    before = table.snapshot()
    for group in plan(before):
        merged = _merged(table, before, group)
        added = table.write([merged])
        try:
            with locked():
                rows = sum(f.rows for f in group)
                now = table.swap(group, added, operation="OPTIMIZE", changes=merged.height != rows)
        except FileReplacedError:  # erased from meanwhile; what is left of the group comes up again next time
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


def _merged(table: Table, snapshot: Snapshot, group: Sequence[DataFile]) -> pl.DataFrame:
    rows = table.scan_files(snapshot, group).collect().sort("seq")
    whole = table.identity.of(rows).whole
    if whole.n_unique() < rows.height:
        rows = rows.filter(whole.is_first_distinct())
    return rows.with_columns(pl.lit(group[0].day).alias(PARTITION))

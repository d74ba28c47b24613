"""The flush: rows move from the logs into their Delta tables, in few and large commits.

Each commit carries Delta's application transaction id (log, position), so a flush that is repeated after a crash adds
nothing. Readers see a table together with its unflushed rows, so a flush can wait; a busy table waits least.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from core.background import AFTER_FAILURE_S, BackgroundThread
from core.errors import AppError
from core.logs import logger
from monitor.events.unflushed import TableKey, UnflushedRows
from monitor.events.wal_records import Record

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.table import LakeTable

MAX_COMMIT_ROWS: Final = 100_000  # bounds the memory of a flush, and how long others wait for their turn
MAX_COMMIT_BYTES: Final = 64 << 20  # of the records in the log
FULL_COMMIT_ROWS: Final = 20_000  # a table with so many unflushed rows is flushed at once
BUSY_TABLE_ROWS: Final = 1_000
BUSY_TABLE_DELAY_S: Final = 1.0  # a table with BUSY_TABLE_ROWS unflushed rows is flushed after this time
QUIET_TABLE_DELAY_S: Final = 30.0  # any other table is flushed after this time
SMALL_FLUSH_PAUSE_S: Final = 0.04  # after a small flush: a thousand quiet tables make about twenty commits a second
NO_PAUSE_DELAY_S: Final = 45.0  # no pauses while the rows of any table have waited this long
POLL_S: Final = 0.1
LONGEST_REST_S: Final = 60.0  # of a table that cannot be flushed: 1 s first, twice as long each time
ORPHAN_CHECK_S: Final = 5.0
log = logger("monitor.events.flush")


def flush_table(
    table: "LakeTable",
    unflushed: UnflushedRows,
    key: TableKey,
    *,
    commits: int | None = None,
    completed: "Callable[[pl.DataFrame], pl.DataFrame] | None" = None,
) -> int:
    """Move a table's rows out of the logs, all or those of some commits; returns how many.

    The caller holds the model's lock. `completed` may fill values of the rows that are about to be written.
    """
    import polars as pl

    from monitor.lake.scan import DELTA_NAMES

    unflushed.refresh()
    table.watch(unflushed.names)
    rows = 0
    for group in islice(_commits(unflushed.pending(key, table.snapshot().txns)), commits):
        frame = unflushed.frame(group)
        if completed is not None:
            frame = completed(frame)
        columns = {name: DELTA_NAMES[kind] for name, kind in frame.schema.items()} | {"date": "date"}
        frame = frame.with_columns(pl.col("ts").dt.date().alias("date"))
        table.append(frame, columns, txn=(group[-1].log, group[-1].end))
        rows += frame.height
    unflushed.discard_flushed(key, table.snapshot().txns)
    return rows


def _commits(records: list[Record]) -> Iterator[list[Record]]:
    """Consecutive records of one log, at most MAX_COMMIT_ROWS and MAX_COMMIT_BYTES in a group."""
    for _, found in groupby(sorted(records, key=lambda r: (r.log, r.end)), key=lambda r: r.log):
        group: list[Record] = []
        rows = size = 0
        for record in found:
            if group and (rows + record.header.rows > MAX_COMMIT_ROWS or size + record.size > MAX_COMMIT_BYTES):
                yield group
                group, rows, size = [], 0, 0
            group.append(record)
            rows += record.header.rows
            size += record.size
        yield group


class Flusher(BackgroundThread):
    """A thread that flushes this process's log at the pace each table needs, and the logs of processes that died."""

    def __init__(
        self,
        unflushed: UnflushedRows,
        table: "Callable[[str, str], LakeTable]",
        locked: Callable[..., AbstractContextManager[None]],
    ) -> None:
        super().__init__("flush", every_s=POLL_S)
        self._unflushed, self._table, self._locked = unflushed, table, locked
        self._checked = -ORPHAN_CHECK_S  # on the monotonic clock
        self._resting: dict[TableKey, tuple[float, float]] = {}  # until when, after how long a rest

    def step(self) -> None:
        if time.monotonic() - self._checked >= ORPHAN_CHECK_S:
            self._checked = time.monotonic()
            flush_orphans(self._unflushed, self._table, self._locked)
        while not self.stopping and self._flush_due():
            pass

    def _flush_due(self) -> bool:
        """One commit for each table that is due; whether a table still has enough rows for another."""
        backlog = self._unflushed.backlog()
        late = max((waited for _, waited in backlog.values()), default=0.0) >= NO_PAUSE_DELAY_S
        more = False
        for key in self.due(backlog):
            if self.stopping:
                break
            until, rest = self._resting.get(key, (0.0, 0.0))
            if time.monotonic() < until:
                continue
            if _attempt(key, partial(self._flush, key, hurry=late)):
                self._resting.pop(key, None)
                more |= self._unflushed.waiting(key) >= FULL_COMMIT_ROWS
            else:
                rest = min(max(AFTER_FAILURE_S, 2 * rest), LONGEST_REST_S)
                self._resting[key] = time.monotonic() + rest, rest
        self._unflushed.held = set(self._resting)
        return more

    def due(self, backlog: Mapping[TableKey, tuple[int, float]]) -> list[TableKey]:
        """Tables to flush now, the longest wait first, given each table's unflushed rows and how long they waited."""
        found = []
        for key, (rows, waited) in backlog.items():
            busy = rows >= BUSY_TABLE_ROWS
            delay = 0 if rows >= FULL_COMMIT_ROWS else BUSY_TABLE_DELAY_S if busy else QUIET_TABLE_DELAY_S
            if waited >= delay:
                found.append((waited, key))
        return [key for _, key in sorted(found, reverse=True)]

    def _flush(self, key: TableKey, *, hurry: bool) -> None:
        with self._locked(key[0], wait=False):
            rows = flush_table(self._table(*key), self._unflushed, key, commits=1)
        if rows < BUSY_TABLE_ROWS and not hurry:
            self.pause(SMALL_FLUSH_PAUSE_S)


def flush_orphans(
    unflushed: UnflushedRows,
    table: "Callable[[str, str], LakeTable]",
    locked: Callable[..., AbstractContextManager[None]],
) -> None:
    """Flush and remove the logs of processes that died; a log that cannot be flushed completely stays."""

    def move(key: TableKey) -> None:
        with locked(key[0], wait=False):
            flush_table(table(*key), unflushed, key)

    def reached(key: TableKey, log: str) -> int:
        try:
            found = table(*key)
            found.watch([log])
            return found.snapshot().txns.get(log, 0)
        except (AppError, OSError):  # a table that cannot be read has none of its rows for certain
            return 0

    orphans = unflushed.orphans(reached)
    try:
        for orphan in orphans:
            moved = [_attempt(key, partial(move, key)) for key in orphan.tables()]
            if all(moved):
                orphan.remove()
    finally:
        for orphan in orphans:
            orphan.release()


def _attempt(key: TableKey, work: Callable[[], None]) -> bool:
    """Whether the work succeeded. A full disk or an unreadable table must not delay other tables."""
    try:
        work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except (AppError, OSError) as error:  # the rows stay in the log and are tried again
        log.warning("flush put off", model=key[0], table=key[1], error=str(error))
        return False
    except BaseException as error:  # noqa: BLE001 - a library in Rust may panic; its words may quote values
        log.warning("flush put off", model=key[0], table=key[1], error=type(error).__name__)
        return False
    return True

"""Folding: rows go from the logs into their Delta tables, in few and large commits.

Each commit carries Delta's application transaction id (log, position), so a fold that is repeated after a crash adds
nothing. Readers see table and tail together, so folding can wait: the busier a table, the sooner it is folded.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from core.errors import AppError
from core.logs import logger
from monitor.events.unflushed import Key, Tail
from monitor.events.wal import Record

if TYPE_CHECKING:
    from monitor.lake.table import Table

MOST_ROWS: Final = 100_000  # in one commit: bounds the memory of a fold
ENOUGH_ROWS: Final = 20_000  # a commit of so many is worth its cost at once
BUSY_ROWS: Final = 1_000
BUSY_S: Final = 1.0  # a table with BUSY_ROWS waiting is folded after this long
QUIET_S: Final = 30.0  # any other after this long
BETWEEN_S: Final = 0.04  # pause after a small fold: a thousand quiet tables cost some twenty commits a second
LATE_S: Final = 45.0  # no pauses while a table waits for longer
LOOK_S: Final = 0.1
ADOPT_S: Final = 5.0
log = logger("monitor.events.flush")


def fold(table: "Table", tail: Tail, key: Key) -> int:
    """Move a table's rows out of the logs; returns how many. The caller holds the model's lock."""
    import polars as pl

    from monitor.lake.scan import DELTA_NAMES

    tail.refresh()
    table.watch(tail.names)
    rows = 0
    for group in _commits(tail.pending(key, table.snapshot().txns)):
        frame = tail.frame(group)
        columns = {name: DELTA_NAMES[kind] for name, kind in frame.schema.items()} | {"date": "date"}
        frame = frame.with_columns(pl.col("ts").dt.date().alias("date"))
        table.append(frame, columns, txn=(group[-1].log, group[-1].end))
        rows += frame.height
    tail.settled(key, table.snapshot().txns)
    return rows


def _commits(records: list[Record]) -> Iterator[list[Record]]:
    """Records of one log in their order, up to MOST_ROWS together."""
    for _, found in groupby(sorted(records, key=lambda r: (r.log, r.end)), key=lambda r: r.log):
        group: list[Record] = []
        rows = 0
        for record in found:
            if group and rows + record.header.rows > MOST_ROWS:
                yield group
                group, rows = [], 0
            group.append(record)
            rows += record.header.rows
        yield group


class Folder:
    """A thread that folds this process's log at the pace each table needs, and the logs of processes that died."""

    def __init__(
        self,
        tail: Tail,
        table: "Callable[[str, str], Table]",
        locked: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._tail, self._table, self._locked = tail, table, locked
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        adopted = -ADOPT_S
        while not self._stop.wait(LOOK_S):
            try:
                if time.monotonic() - adopted >= ADOPT_S:
                    adopted = time.monotonic()
                    adopt(self._tail, self._table, self._locked)
                failed = False
                backlog = self._tail.backlog()
                late = max((waited for _, waited in backlog.values()), default=0.0) >= LATE_S
                for key in self.due(backlog):
                    if self._stop.is_set():
                        break
                    failed |= not _tried(key, partial(self._fold, key, hurry=late))
                if failed:
                    self._stop.wait(1.0)
            except Exception:
                log.exception("fold")
                self._stop.wait(1.0)

    def due(self, backlog: Mapping[Key, tuple[int, float]]) -> list[Key]:
        """Tables to be folded now, given rows and seconds that wait; the one that waits longest first."""
        found = []
        for key, (rows, waited) in backlog.items():
            patience = 0 if rows >= ENOUGH_ROWS else BUSY_S if rows >= BUSY_ROWS else QUIET_S
            if waited >= patience:
                found.append((waited, key))
        return [key for _, key in sorted(found, reverse=True)]

    def _fold(self, key: Key, *, hurry: bool) -> None:
        with self._locked(key[0]):
            rows = fold(self._table(*key), self._tail, key)
        if rows < BUSY_ROWS and not hurry:
            self._stop.wait(BETWEEN_S)


def adopt(
    tail: Tail, table: "Callable[[str, str], Table]", locked: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Fold what processes that died have left, and remove their logs; one that cannot be folded whole stays."""

    def move(key: Key) -> None:
        with locked(key[0]):
            fold(table(*key), tail, key)

    orphans = tail.orphans()
    try:
        for orphan in orphans:
            moved = [_tried(key, partial(move, key)) for key in orphan.tables()]
            if all(moved):
                orphan.remove()
    finally:
        for orphan in orphans:
            orphan.release()


def _tried(key: Key, work: Callable[[], None]) -> bool:
    """Whether it could be done. A full disk, or a table that cannot be read, holds up no other table."""
    try:
        work()
    except (AppError, OSError) as error:  # the rows stay in the log, and are tried again
        log.warning("fold put off", model=key[0], table=key[1], error=str(error))
        return False
    return True

"""Which rows are new and what number they get: decided once, under one lock per model, before they are written.

Across threads and processes of a machine a row is accepted once: whoever holds the lock has first taken in what the
others have accepted. Numbers are dense per table and final; folding does not change them.
"""

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.errors import ColumnTypeChangedError
from monitor.events import wal
from monitor.events.wal import FewRows, Header, RecordGoneError
from monitor.lake.identity import Ids

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from monitor.events.unflushed import Tail
    from monitor.lake.id_file import Pair, Words
    from monitor.lake.id_index import TableIds
    from monitor.lake.snapshot import Snapshot
    from monitor.lake.table import Table

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Book:
    """One table of one model, as far as rows were accepted by any process."""

    table: "Table"
    ids: "TableIds"
    next_seq: int = 0
    types: dict[str, str] = field(default_factory=dict)  # of the columns accepted so far
    seen: dict[str, int] = field(default_factory=dict)  # log -> position taken in
    unsynced: set[Path] = field(default_factory=set)  # segments of others, taken in since a duplicate was last answered

    def agree(self, frame: "pl.DataFrame") -> None:
        from monitor.lake.scan import DELTA_NAMES

        self.agree_on([(name, DELTA_NAMES[dtype]) for name, dtype in frame.schema.items()])

    def agree_on(self, columns: Sequence[tuple[str, str]]) -> None:
        """Refuse here what could not be folded later: a row that was accepted is never lost.

        Raises:
            ColumnTypeChangedError: a column is stored with another type.
        """
        declared = dict(columns)
        if declared.items() <= self.types.items():
            return
        for name, kind in declared.items():
            known = self.types.get(name) or self.table.snapshot().columns.get(name, kind)
            if known != kind:
                raise ColumnTypeChangedError(
                    f"column {name} is stored as {known} and is now declared as {kind}; give the changed column a "
                    "new name",
                    field=name,
                )
        self.types.update(declared)


class Acceptance:
    def __init__(self, table: "Callable[[str, str], Table]", tail: "Tail", locks: Path) -> None:
        self._table, self._tail, self._locks = table, tail, locks
        self._books: dict[tuple[str, str], Book] = {}
        self._models: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def of(self, model: str) -> Iterator["Accepting"]:
        """Be the only one to accept rows of a model. What was written is durable when this is left.

        Within `together` it is when that is left.
        """
        with self._guard:
            mine = self._models.setdefault(model, threading.Lock())
        with mine, self._locked(model):
            self._tail.refresh()
            accepting = Accepting(self, self._tail, model)
            yield accepting
        group: set[Path] | None = getattr(self._mine, "group", None)
        if group is None:
            self._sync(accepting.rests_on)
        else:
            group |= accepting.rests_on

    @contextmanager
    def together(self) -> Iterator[None]:
        """Rows this thread accepts within, of any models, are durable when this is left: with one sync for all."""
        rests_on: set[Path] = set()
        self._mine.group = rests_on
        try:
            yield
        finally:
            self._mine.group = None
        self._sync(rests_on)

    def _sync(self, rests_on: set[Path]) -> None:
        # Also where every row was a duplicate: of a row, perhaps, that another thread or process has yet to sync.
        self._tail.sync()
        for segment in rests_on:
            wal.sync_file(segment)

    @contextmanager
    def _locked(self, model: str) -> Iterator[None]:
        path = f"{self._locks}/{model}.accept"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            self._locks.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def book(self, model: str, kind: str) -> Book:
        """The table's book, with what others have accepted since."""
        if (book := self._books.get((model, kind))) is None:
            table = self._table(model, kind)
            table.watch(self._tail.names)
            book = self._books[model, kind] = Book(table, table.ids)
        self._take_in(book, (model, kind))
        return book

    def _take_in(self, book: Book, key: tuple[str, str]) -> None:
        from monitor.lake.scan import DELTA_NAMES

        # First the logs, then the table: what is folded in between is seen twice, never not at all.
        fresh = [r for r in self._tail.others(key) if r.end > book.seen.get(r.log, 0)]
        for record in fresh:
            try:
                frame = self._tail.frame([record])
                book.ids.extend(book.table.identity.of(frame))
                book.types.update({name: DELTA_NAMES[dtype] for name, dtype in frame.schema.items()})
                book.unsynced.add(record.segment)
            except RecordGoneError:
                pass  # folded: the table's files have it
            book.seen[record.log] = record.end
            book.next_seq = max(book.next_seq, record.header.first_seq + record.header.rows)
        book.next_seq = max(book.next_seq, book.table.snapshot().next_seq)


class Accepting:
    """The right to accept rows of one model."""

    def __init__(self, acceptance: Acceptance, tail: "Tail", model: str) -> None:
        self._acceptance, self._tail, self.model = acceptance, tail, model
        self._books: dict[str, Book] = {}
        # Digests of what `unseen` gave, and the version it had looked at.
        self._unseen: tuple[Words, Words, Snapshot | None] | None = None
        self.rests_on: set[Path] = set()

    def known(self, kind: str, ids: Ids) -> "NDArray[np.bool_]":
        """Which rows have been accepted before."""
        found = self._book(kind).ids.current()
        return found.contains(*found.words(ids))

    def unseen(self, kind: str, frame: "pl.DataFrame") -> tuple["pl.DataFrame", list[int]]:
        """The rows that are new, the first of equal ones, and the positions of the others; to be written next."""
        import polars as pl

        book = self._book(kind)
        ids = book.table.identity.of(frame)
        first, second = book.ids.words(ids)
        since = book.ids.current().seen
        new = pl.Series(~book.ids.contains(first, second))
        if ids.whole.n_unique() < len(ids):
            new &= ids.whole.is_first_distinct()
        elif new.all():  # nearly always; the columns are not copied
            self._unseen = first, second, since
            return frame, []
        mask = new.to_numpy()
        self._unseen = first[mask], second[mask], since
        self.rests_on, book.unsynced = book.unsynced, set()
        return frame.filter(new), (~new).arg_true().to_list()

    def write(self, kind: str, frame: "pl.DataFrame", now: datetime) -> Header:
        """Number the rows that `unseen` gave and write them to the log, under this header.

        Raises what `Log.append` raises.
        """
        import numpy as np
        import polars as pl

        book = self._book(kind)
        book.agree(frame)
        first, end = book.next_seq, book.next_seq + frame.height
        frame = frame.hstack([pl.Series("seq", np.arange(first, end))])
        low, high = frame["ts"].min(), frame["ts"].max()
        header = Header(self.model, kind, first, frame.height, _micros(now), _micros(low), _micros(high))
        self._tail.append(header, frame)
        book.next_seq = end
        assert self._unseen is not None
        assert len(self._unseen[0]) == frame.height
        book.ids.extend_new(*self._unseen)
        self._unseen = None
        return header

    def write_few(
        self,
        kind: str,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[Mapping[str, Any]],
        digests: "Sequence[Pair]",
        now: datetime,
    ) -> tuple[list[int], Header | None]:
        """`unseen` and `write` for a few rows without a frame, of a table that tells them apart by their id alone.

        Returns the positions of those that were known, and the header of the others if there are any.

        Args:
            columns: name and Delta type of every column but `seq`.
            rows: values by name; times are times, what is missing is null.
            digests: of each row, under the lake's key.
        """
        book = self._book(kind)
        book.agree_on(columns)
        known = book.ids.current()
        since = known.seen
        fresh, repeated, new = [], [], set()
        for position, (row, pair) in enumerate(zip(rows, digests, strict=True)):
            if pair in new or known.has(pair):
                repeated.append(position)
            else:
                new.add(pair)
                fresh.append([_micros(v) if type(v := row.get(name)) is datetime else v for name, _ in columns])
        if repeated:
            self.rests_on, book.unsynced = book.unsynced, set()
        header = None
        if fresh:
            times = [_micros(row["ts"]) for row in rows]
            first = book.next_seq
            few = FewRows(columns, fresh, first)
            header = Header(self.model, kind, first, len(fresh), _micros(now), min(times), max(times), wal.ROWS)
            self._tail.append(header, few)
            book.next_seq += len(fresh)
            book.ids.extend_pairs(new, since)
        return repeated, header

    def _book(self, kind: str) -> Book:
        if kind not in self._books:
            self._books[kind] = self._acceptance.book(self.model, kind)
        return self._books[kind]


def when(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(value: Any) -> int:
    micros: int = (value - _EPOCH) // timedelta(microseconds=1)
    return micros

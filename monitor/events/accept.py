"""Which rows are new and which number each gets: decided once, under one lock per model, before rows are written.

All threads and processes of a machine together accept a row once: the holder of the lock first reads what the others
have accepted. Numbers (`seq`) are dense per table and final; a flush does not change them.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import ColumnTypeChangedError
from monitor.events.number_floor import NumberFloor
from monitor.events.wal import sync_file
from monitor.events.wal_records import JSON_FORM, Header, RecordGoneError, RowBatch, to_micros
from monitor.lake.identity import RowIds

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from monitor.events.unflushed import UnflushedRows
    from monitor.lake.id_file import Digest, Words
    from monitor.lake.snapshot import Snapshot
    from monitor.lake.table import LakeTable
    from monitor.lake.table_ids import TableIds


@dataclass
class AcceptedState:
    """One table of one model with the rows that any process has accepted so far."""

    table: "LakeTable"
    ids: "TableIds"
    next_seq: int = 0
    types: dict[str, str] = field(default_factory=dict)  # of the columns accepted so far
    read_up_to: dict[str, int] = field(default_factory=dict)  # log -> position up to which its records were read
    # Segments of other processes that were read since a duplicate was last answered; their rows may not be synced.
    unsynced: set[Path] = field(default_factory=set)

    def check_frame(self, frame: "pl.DataFrame") -> None:
        """`check_types` of a frame's columns."""
        from monitor.lake.scan import DELTA_NAMES

        self.check_types([(name, DELTA_NAMES[dtype]) for name, dtype in frame.schema.items()])

    def check_types(self, columns: Sequence[tuple[str, str]]) -> None:
        """Refuse columns that could not be flushed later: an accepted row is never lost.

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
    """Decides, for every model of an installation, which rows are new."""

    def __init__(
        self,
        table: Callable[[str, str], "LakeTable"],
        unflushed: "UnflushedRows",
        locks: Path,
        floor: NumberFloor | None = None,
    ) -> None:
        self._table, self._unflushed, self._locks, self._floor = table, unflushed, locks, floor
        self._states: dict[tuple[str, str], AcceptedState] = {}
        self._models: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._thread = threading.local()

    @contextmanager
    def of(self, model: str) -> Iterator["Accepting"]:
        """Hold the exclusive right to accept rows of a model. What was written is durable when this exits.

        Within `together` it is durable when `together` exits.
        """
        with self._guard:
            lock = self._models.setdefault(model, threading.Lock())
        with lock, self._locked(model):
            self._unflushed.refresh()
            accepting = Accepting(self, self._unflushed, model)
            yield accepting
        group: set[Path] | None = getattr(self._thread, "group", None)
        if group is None:
            self._sync(accepting.depends_on)
        else:
            group |= accepting.depends_on

    @contextmanager
    def together(self) -> Iterator[None]:
        """Rows that this thread accepts within, of any models, are durable when this exits; they share one sync."""
        depends_on: set[Path] = set()
        self._thread.group = depends_on
        try:
            yield
        finally:
            self._thread.group = None
        self._sync(depends_on)

    def _sync(self, depends_on: set[Path]) -> None:
        # Needed even if every row was a duplicate: another thread or process may not have synced the first copy yet.
        self._unflushed.sync()
        for segment in depends_on:
            sync_file(segment)

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

    def state(self, model: str, kind: str) -> AcceptedState:
        """The state of a table, with what other processes have accepted since the last call."""
        if (state := self._states.get((model, kind))) is None:
            table = self._table(model, kind)
            table.watch(self._unflushed.names)
            state = AcceptedState(table, table.ids)
            self._catch_up(state, (model, kind))
            if self._floor is not None:  # nobody else numbers rows meanwhile
                end = state.next_seq
                state.next_seq = self._floor.at_least(model, kind, lambda: end)
            self._states[model, kind] = state
            return state
        self._catch_up(state, (model, kind))
        return state

    def _catch_up(self, state: AcceptedState, key: tuple[str, str]) -> None:
        from monitor.lake.scan import DELTA_NAMES

        # The logs first, then the table: a row that is flushed in between is seen twice, never missed.
        new = [r for r in self._unflushed.others(key) if r.end > state.read_up_to.get(r.log, 0)]
        for record in new:
            try:
                frame = self._unflushed.frame([record])
                state.ids.extend(state.table.identity.of(frame))
                state.types.update({name: DELTA_NAMES[dtype] for name, dtype in frame.schema.items()})
                state.unsynced.add(record.segment)
            except RecordGoneError:
                pass  # flushed: the table's files have it
            state.read_up_to[record.log] = record.end
            state.next_seq = max(state.next_seq, record.header.first_seq + record.header.rows)
        state.next_seq = max(state.next_seq, state.table.snapshot().next_seq)


class Accepting:
    """The right to accept rows of one model, as `Acceptance.of` grants it."""

    def __init__(self, acceptance: Acceptance, unflushed: "UnflushedRows", model: str) -> None:
        self._acceptance, self._unflushed, self.model = acceptance, unflushed, model
        self._states: dict[str, AcceptedState] = {}
        # Digests of the rows that `unseen` returned, and the version of the table that it compared them with.
        self._unseen: tuple[Words, Words, Snapshot | None] | None = None
        self.depends_on: set[Path] = set()  # segments that must be synced before duplicates are acknowledged

    def known(self, kind: str, ids: RowIds) -> "NDArray[np.bool_]":
        """Shape (ids,): True where the row was accepted before."""
        found = self._state(kind).ids.current()
        return found.contains(*found.words(ids))

    def unseen(self, kind: str, frame: "pl.DataFrame") -> tuple["pl.DataFrame", list[int]]:
        """The new rows, the first of equal ones, for `write`; and the positions of all others."""
        import polars as pl

        state = self._state(kind)
        ids = state.table.identity.of(frame)
        first, second = state.ids.words(ids)
        since = state.ids.current().seen
        new = pl.Series(~state.ids.contains(first, second))
        if ids.whole.n_unique() < len(ids):
            new &= ids.whole.is_first_distinct()
        elif new.all():  # nearly always; the columns are not copied
            self._unseen = first, second, since
            return frame, []
        mask = new.to_numpy()
        self._unseen = first[mask], second[mask], since
        self.depends_on, state.unsynced = state.unsynced, set()
        return frame.filter(new), (~new).arg_true().to_list()

    def write(self, kind: str, frame: "pl.DataFrame", now: datetime) -> Header:
        """Number the rows that `unseen` returned and write them to the log.

        Returns:
            The header of the record.

        Raises:
            StoreFullError, LogFailedError: as `Log.append`.
        """
        import numpy as np
        import polars as pl

        state = self._state(kind)
        state.check_frame(frame)
        first, end = state.next_seq, state.next_seq + frame.height
        frame = frame.hstack([pl.Series("seq", np.arange(first, end))])
        low, high = frame["ts"].min(), frame["ts"].max()
        header = Header(self.model, kind, first, frame.height, to_micros(now), to_micros(low), to_micros(high))
        self._unflushed.append(header, frame)
        state.next_seq = end
        assert self._unseen is not None
        assert len(self._unseen[0]) == frame.height
        state.ids.extend_new(*self._unseen)
        self._unseen = None
        return header

    def write_batch(
        self,
        kind: str,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[Mapping[str, Any]],
        digests: "Sequence[Digest]",
        now: datetime,
    ) -> tuple[list[int], Header | None]:
        """`unseen` and `write` for a small batch, without a frame; the id alone must identify the table's rows.

        Args:
            kind: the table.
            columns: name and Delta type of every column but `seq`.
            rows: values by name; times are datetimes, a missing value is null.
            digests: of each row's id, under the lake's key.
            now: when the rows arrived.

        Returns:
            The positions of the rows that were known, and the header of the others, None if there are none.
        """
        state = self._state(kind)
        state.check_types(columns)
        known = state.ids.current()
        since = known.seen
        fresh, repeated, new = [], [], set()
        for position, (row, digest) in enumerate(zip(rows, digests, strict=True)):
            if digest in new or known.has(digest):
                repeated.append(position)
            else:
                new.add(digest)
                fresh.append([to_micros(v) if type(v := row.get(name)) is datetime else v for name, _ in columns])
        if repeated:
            self.depends_on, state.unsynced = state.unsynced, set()
        header = None
        if fresh:
            times = [to_micros(row["ts"]) for row in rows]
            first = state.next_seq
            batch = RowBatch(columns, fresh, first)
            header = Header(self.model, kind, first, len(fresh), to_micros(now), min(times), max(times), JSON_FORM)
            self._unflushed.append(header, batch)
            state.next_seq += len(fresh)
            state.ids.extend_digests(new, since)
        return repeated, header

    def _state(self, kind: str) -> AcceptedState:
        if kind not in self._states:
            self._states[kind] = self._acceptance.state(self.model, kind)
        return self._states[kind]

"""Appending: events, outcomes and rejected rows are numbered and written to the log; durable on return."""

import hmac
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unicodedata import normalize

from core.errors import AppError
from core.logs import logger
from monitor.events.accept import Acceptance
from monitor.events.arrivals import ArrivalBoard, arrivals_of
from monitor.events.columns import (
    DELTA_TYPES,
    OUTCOME_FIELDS,
    QUARANTINE_FIELDS,
    REPLACEMENT_FIELDS,
    StoredColumns,
    require_columns,
    typed,
)
from monitor.events.event_tables import EventTables
from monitor.events.number_floor import NumberFloor
from monitor.events.wal_records import Header
from monitor.lake.identity import RowIds
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.id_file import Digest

log = logger("monitor.events")
_DIGESTED: Final = re.compile(r"\[subject:([0-9a-f]{64})\]")


@dataclass(frozen=True, slots=True)
class Appended:
    """How many rows of a batch were new."""

    accepted: int
    repeated: Sequence[int]  # positions of rows that were known before

    @property
    def duplicates(self) -> int:
        """How many rows were known before."""
        return len(self.repeated)


@dataclass(frozen=True, slots=True)
class AppendedOutcomes(Appended):
    """How many outcomes of a batch were new."""

    unknown: tuple[int, ...]  # positions of rows whose event is not stored


@dataclass(frozen=True, slots=True)
class SmallBatch:
    """A few events of one model, checked by `monitor.ingest.small_batch`: `ts` is a datetime."""

    spec: ModelSpec
    rows: Sequence[Mapping[str, Any]]


class EventAppender(EventTables):
    """The tables with what it takes to append to them."""

    def __init__(
        self, lake_uri: str, home: Path, subject_key: bytes, judged: Callable[[str, str], int] | None = None
    ) -> None:
        """
        Args:
            lake_uri, home: as `EventTables`.
            subject_key: key of the digests that are stored in place of subjects.
            judged: as `NumberFloor`; None where no row was ever read.
        """
        super().__init__(lake_uri, home)
        self.arrivals = ArrivalBoard()
        self._subject_hmac = hmac.new(subject_key, digestmod="sha256")  # copied for each; to set it up takes longer
        self._stored: dict[str, StoredColumns] = {}
        self.number_floor = None if judged is None else NumberFloor(self.lock_dir, judged)
        self._acceptance = Acceptance(self.table, self.unflushed, self.lock_dir, self.number_floor)
        self._grouped = threading.local()

    def append_events(
        self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime, arrived: "pl.Series | None" = None
    ) -> Appended:
        """Store the rows whose `event_id` is new; durable on return.

        Args:
            spec: the model's.
            frame: `event_id`, `ts`, `version` (none null) and any of `trace_id`, `span_id` and the spec's event
                columns, already of the declared types; the first row of an `event_id` wins.
            now: becomes `received_at`, unless `arrived` gives the arrival of each row.
            arrived: when each row arrived.

        Raises:
            InvalidError: a required column is missing or holds a null.
            StoreFullError, LogFailedError: nothing was stored.
        """
        require_columns(frame, ("event_id", "ts", "version"))
        stored = self._columns(spec)
        for name in stored.subjects:
            if name in frame.columns:
                frame = frame.with_columns(self._digested(frame[name]))
        frame = typed(frame, dict(stored.columns), received_at=now if arrived is None else arrived)
        with self._acceptance.of(spec.model) as accepting:
            fresh, repeated = accepting.unseen("events", frame)
            header = accepting.write("events", fresh, now) if fresh.height else None
        self._acknowledge(spec, header)
        return Appended(fresh.height, repeated)

    def append_small_batches(self, batches: Sequence[SmallBatch], *, now: datetime) -> list[Appended | Exception]:
        """`append_events` for a few rows each of several models, without a frame; durable on return.

        Returns:
            For each batch what was appended, or the exception that it raised.

        Raises:
            LogFailedError: none of the batches is durable.
        """
        # One call for all batches takes as long as one call for a single row.
        digests = iter(self._key.digests([row["event_id"] for batch in batches for row in batch.rows]))
        with self.together():
            return [self._append_small_batch(batch, [next(digests) for _ in batch.rows], now) for batch in batches]

    def _append_small_batch(
        self, batch: SmallBatch, digests: "Sequence[Digest]", now: datetime
    ) -> Appended | Exception:
        spec, stored = batch.spec, self._columns(batch.spec)
        rows = [{**row, "received_at": now} for row in batch.rows]
        for name in stored.subjects:
            for row in rows:
                if row.get(name) is not None:
                    row[name] = self.subject_digest(row[name])
        try:
            with self._acceptance.of(spec.model) as accepting:
                repeated, header = accepting.write_batch("events", stored.columns, rows, digests, now)
            self._acknowledge(spec, header)
        except Exception as error:
            if not isinstance(error, AppError):
                log.exception("not stored", model=spec.model)
            return error
        return Appended(len(rows) - len(repeated), repeated)

    def append_outcomes(
        self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime, arrived: "pl.Series | None" = None
    ) -> AppendedOutcomes:
        """Store outcomes of known events. A row with the same event and values as an earlier one is a duplicate.

        Args:
            spec: the model's.
            frame: `event_id` and any of the spec's outcome columns.
            now: when the outcomes arrived, stored as `ts`, unless `arrived` gives the arrival of each row.
            arrived: when each row arrived.

        Raises:
            InvalidError: `event_id` is missing or holds a null.
            StoreFullError, LogFailedError: nothing was stored.
        """
        import polars as pl

        require_columns(frame, ("event_id",))
        columns = {name: DELTA_TYPES[c.type] for name, c in spec.outcome_columns.items()}
        frame = typed(frame, {**OUTCOME_FIELDS, **columns}, ts=now if arrived is None else arrived)
        with self._acceptance.of(spec.model) as accepting:
            known = pl.Series(accepting.known("events", RowIds.plain(frame["event_id"])), dtype=pl.Boolean)
            fresh, repeated = accepting.unseen("outcomes", frame.filter(known))
            header = accepting.write("outcomes", fresh, now) if fresh.height else None
        self._acknowledge(spec, header)
        positions = known.arg_true()
        unknown = tuple((~known).arg_true().to_list())
        return AppendedOutcomes(fresh.height, [positions[i] for i in repeated], unknown)

    def are_stored(self, model: str, ids: "pl.Series") -> list[bool]:
        """Whether each of these events was accepted."""
        with self._acceptance.of(model) as accepting:
            return list(accepting.known("events", RowIds.plain(ids)))

    def append_quarantine(self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime) -> int:
        """Store the rejected rows whose `id` is new; durable on return.

        Args:
            spec: the model's.
            frame: the columns of `QUARANTINE_FIELDS` except `ts` and `seq`.
            now: when the rows arrived, stored as `ts`.

        Returns:
            How many were new.
        """
        frame = typed(frame, QUARANTINE_FIELDS, ts=now)
        with self._acceptance.of(spec.model) as accepting:
            fresh, _ = accepting.unseen("quarantine", frame)
            if fresh.height:
                accepting.write("quarantine", fresh, now)
        self._acknowledge(spec, None)  # no verdict depends on rejected rows
        return fresh.height

    def append_replacements(self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime) -> int:
        """Store other records of events that are stored already: readers see the fullest one in the event's place.

        Args:
            spec: the model's.
            frame: the columns of `REPLACEMENT_FIELDS` and of events, `event_id` and `ts` not null. `@of` is the id of
                the stored event and `@seq` its number; where `@seq` is null, it only gives the event another id.
            now: becomes `received_at`.

        Returns:
            How many were new.
        """
        stored = self._columns(spec)
        for name in stored.subjects:
            if name in frame.columns:
                frame = frame.with_columns(self._digested(frame[name]))
        frame = typed(frame, {**REPLACEMENT_FIELDS, **dict(stored.columns)}, received_at=now)
        with self._acceptance.of(spec.model) as accepting:
            fresh, _ = accepting.unseen("replacements", frame)
            if fresh.height:
                accepting.write("replacements", fresh, now)
        self._acknowledge(spec, None)  # the number of rows is the same
        return fresh.height

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread appends within, to any tables, is durable when this exits; all of it shares one sync.

        Raises:
            LogFailedError: none of it is durable.
        """
        if hasattr(self._grouped, "appended"):  # nested
            yield
            return
        later: list[tuple[ModelSpec, Header | None]] = []
        self._grouped.appended = later
        try:
            with self._acceptance.together():
                yield
        finally:
            del self._grouped.appended
        for spec, header in later:
            self._acknowledge(spec, header)

    def _acknowledge(self, spec: ModelSpec, header: Header | None) -> None:
        """Announce rows that were written under this header; without a header no window can change."""
        later: list[tuple[ModelSpec, Header | None]] | None = getattr(self._grouped, "appended", None)
        if later is not None:
            later.append((spec, header))
            return
        if header is not None:
            self.arrivals.post(spec.model, arrivals_of(header))
        if spec.ack == "lake":
            self.settle(spec.model)

    def _columns(self, spec: ModelSpec) -> StoredColumns:
        """`StoredColumns.of`, kept per model: to compute it takes longer than to store a single event."""
        if (found := self._stored.get(spec.model)) is None or found.spec is not spec:
            found = self._stored[spec.model] = StoredColumns.of(spec)
        return found

    def subject_digest(self, value: str) -> str:
        """What is stored in place of a subject: HMAC-SHA256 under the installation's subject key, hexadecimal.

        A name is the same person in Unicode's composed and decomposed form, so the digest is that of the composed one.
        A row from quarantine holds `[subject:DIGEST]` already; its digest is returned unchanged.
        """
        if value.startswith("[subject:") and (kept := _DIGESTED.fullmatch(value)):
            return kept[1]
        digest = self._subject_hmac.copy()
        digest.update(normalize("NFC", value).encode())
        return digest.hexdigest()

    def event_digest(self, model: str, event_id: str) -> str:
        """What stands for an event where its id must not: HMAC-SHA256 under the subject key, hexadecimal."""
        digest = self._subject_hmac.copy()
        digest.update(f"event of {model}\n{event_id}".encode())
        return digest.hexdigest()

    def _digested(self, values: "pl.Series") -> "pl.Series":
        import polars as pl

        given = values.to_list()
        digests = {v: self.subject_digest(str(v)) for v in set(given) if v is not None}
        return pl.Series(values.name, [digests.get(v) for v in given], dtype=pl.String)

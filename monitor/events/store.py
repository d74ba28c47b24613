"""The event store: what a model was asked and answered, and what turned out to be true.

Two tables per model, `{lake}/{model}/events` and `{lake}/{model}/outcomes`. An event is accepted once by `event_id`, an
outcome once by `event_id` and what it says: outcomes accumulate, and the newest value of a column counts. Rows are
written to the log of this process (durable when `append_*` returns), and folded into the table later; readers see
both. polars and deltalake are imported when first used, so that a process that only answers questions about metadata
starts without them.
"""

import fcntl
import hmac
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import AppError, InvalidError
from core.logs import logger
from monitor.events.accept import Acceptance, when
from monitor.events.arrivals import Board, news_of
from monitor.events.flush import Folder, adopt, fold
from monitor.events.unflushed import Tail
from monitor.events.wal import Header, Record, RecordGoneError
from monitor.lake.identity import IDENTITIES, Ids
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.id_file import Key, Pair
    from monitor.lake.snapshot import Snapshot
    from monitor.lake.table import Table

KINDS: Final = ("events", "outcomes", "quarantine")  # in the order they are folded: an outcome after its event
DELTA_TYPES: Final = {
    "number": "double",
    "category": "string",
    "text": "string",
    "string": "string",
    "boolean": "boolean",
    "vector": "array<float>",
}
EVENT_FIELDS: Final = {
    "event_id": "string", "ts": "timestamp", "version": "string", "trace_id": "string", "span_id": "string",
    "seq": "long", "received_at": "timestamp",
}  # fmt: skip
OUTCOME_FIELDS: Final = {"event_id": "string", "ts": "timestamp", "seq": "long"}
QUARANTINE_FIELDS: Final = {
    "id": "string", "event_id": "string", "ts": "timestamp", "seq": "long", "kind": "string", "line": "long",
    "field": "string", "reason": "string", "raw": "string", "subject": "string", "body_digest": "string",
}  # fmt: skip
log = logger("monitor.events")
_DIGESTED: Final = re.compile(r"\[subject:([0-9a-f]{64})\]")


@dataclass(frozen=True, slots=True)
class Appended:
    accepted: int
    repeated: Sequence[int]  # positions of rows that were known before

    @property
    def duplicates(self) -> int:
        return len(self.repeated)


@dataclass(frozen=True, slots=True)
class Few:
    """A few events of one model that `monitor.ingest.small_batch` has looked at: `ts` is a time."""

    spec: ModelSpec
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored of an event: name and Delta type of every column but `seq`, and which are digests of subjects."""

    spec: ModelSpec
    columns: Sequence[tuple[str, str]]
    subjects: Sequence[str]


@dataclass(frozen=True, slots=True)
class AppendedOutcomes(Appended):
    unknown: tuple[int, ...]  # positions of rows whose event is not stored


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a model's tables reach. A version of -1 is a table without a row."""

    rows: int
    next_seq: int
    first_ts: datetime | None
    last_ts: datetime | None
    last_received_at: datetime | None
    events_version: int
    outcomes_version: int
    outcomes: int  # rows of outcomes; an event may have several
    next_outcome: int  # the `seq` of the next one


class EventStore:
    def __init__(self, lake_uri: str, home: Path, subject_key: bytes) -> None:
        """`home` holds the locks and the logs."""
        path = lake_uri.removeprefix("file://")
        if "://" in path:
            raise InvalidError(
                f"lake.uri {lake_uri!r} is not a local folder; this release keeps its Delta tables on a local disk",
                field="lake.uri",
            )
        self.root = Path(path).expanduser()
        self.lock_dir = home / "locks"
        self.tail = Tail(home / "wal")
        self._subject_key = subject_key
        self.news = Board()  # of rows that came
        self._tables: dict[tuple[str, str], Table] = {}
        self._kept: dict[str, _Stored] = {}
        self._guard = threading.Lock()
        self._held = threading.local()
        self._acceptance = Acceptance(self.table, self.tail, self.lock_dir)

    # Appending

    def append_events(
        self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime, arrived: "pl.Series | None" = None
    ) -> Appended:
        """Store the rows whose `event_id` is new; on disk when this returns.

        Args:
            frame: `event_id`, `ts`, `version` (none null) and any of `trace_id`, `span_id` and the spec's event
                columns, already of the declared types; the first row of an `event_id` wins.
            now: becomes `received_at`, unless `arrived` says when each row came.

        Raises:
            InvalidError: a required column is missing or holds a null.
            StoreFullError, LogFailedError: nothing was stored.
        """
        _demand(frame, ("event_id", "ts", "version"))
        stored = self._stored(spec)
        for name in stored.subjects:
            if name in frame.columns:
                frame = frame.with_columns(self._digested(frame[name]))
        frame = _typed(frame, dict(stored.columns), received_at=now if arrived is None else arrived)
        with self._acceptance.of(spec.model) as accepting:
            fresh, repeated = accepting.unseen("events", frame)
            header = accepting.write("events", fresh, now) if fresh.height else None
        self._acknowledge(spec, header)
        return Appended(fresh.height, repeated)

    def append_few(self, batches: Sequence[Few], *, now: datetime) -> list[Appended | Exception]:
        """`append_events` for rows that are not worth a frame, of several models; on disk when this returns.

        One answer for each batch: what was raised for it, if something was.

        Raises:
            LogFailedError: none of it can be promised.
        """
        # All at once, for that takes as long as a single one.
        digests = iter(self._key.pairs([row["event_id"] for batch in batches for row in batch.rows]))
        with self.together():
            return [self._append_few(batch, [next(digests) for _ in batch.rows], now) for batch in batches]

    def _append_few(self, batch: Few, digests: "Sequence[Pair]", now: datetime) -> Appended | Exception:
        spec, stored = batch.spec, self._stored(batch.spec)
        rows = [{**row, "received_at": now} for row in batch.rows]
        for name in stored.subjects:
            for row in rows:
                if row.get(name) is not None:
                    row[name] = self.subject_digest(row[name])
        try:
            with self._acceptance.of(spec.model) as accepting:
                repeated, header = accepting.write_few("events", stored.columns, rows, digests, now)
            self._acknowledge(spec, header)
        except Exception as error:
            if not isinstance(error, AppError):
                log.exception("not stored", model=spec.model)
            return error
        return Appended(len(rows) - len(repeated), repeated)

    def _stored(self, spec: ModelSpec) -> "_Stored":
        """Worked out once for a spec: a single event takes less time than this."""
        if (found := self._kept.get(spec.model)) is None or found.spec is not spec:
            subjects = spec.with_role("subject")
            columns = {name: DELTA_TYPES[c.type] for name, c in spec.event_columns.items()}
            columns = EVENT_FIELDS | columns | dict.fromkeys(subjects, "string")
            found = self._kept[spec.model] = _Stored(spec, [c for c in columns.items() if c[0] != "seq"], subjects)
        return found

    def append_outcomes(
        self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime, arrived: "pl.Series | None" = None
    ) -> AppendedOutcomes:
        """Store outcomes of known events. A row that says the same of an event as an earlier one is a duplicate.

        Args:
            frame: `event_id` and any of the spec's outcome columns.
            now: arrival of the outcomes, stored as `ts`, unless `arrived` says when each came.
        """
        import polars as pl

        _demand(frame, ("event_id",))
        columns = {name: DELTA_TYPES[c.type] for name, c in spec.outcome_columns.items()}
        frame = _typed(frame, {**OUTCOME_FIELDS, **columns}, ts=now if arrived is None else arrived)
        with self._acceptance.of(spec.model) as accepting:
            known = pl.Series(accepting.known("events", Ids.plain(frame["event_id"])), dtype=pl.Boolean)
            fresh, repeated = accepting.unseen("outcomes", frame.filter(known))
            header = accepting.write("outcomes", fresh, now) if fresh.height else None
        self._acknowledge(spec, header)
        positions = known.arg_true()
        unknown = tuple((~known).arg_true().to_list())
        return AppendedOutcomes(fresh.height, [positions[i] for i in repeated], unknown)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread appends within, to any tables, is on disk when this is left: one sync serves all.

        Raises:
            LogFailedError: none of it can be promised.
        """
        if hasattr(self._held, "acknowledged"):  # within another one
            yield
            return
        later: list[tuple[ModelSpec, Header | None]] = []
        self._held.acknowledged = later
        try:
            with self._acceptance.together():
                yield
        finally:
            del self._held.acknowledged
        for spec, header in later:
            self._acknowledge(spec, header)

    def _acknowledge(self, spec: ModelSpec, header: Header | None) -> None:
        """Rows are there, written under this header; without one they are no news to whoever judges windows."""
        later: list[tuple[ModelSpec, Header | None]] | None = getattr(self._held, "acknowledged", None)
        if later is not None:
            later.append((spec, header))
            return
        if header is not None:
            self.news.pin(spec.model, news_of(header))
        if spec.ack == "lake":
            self.settle(spec.model)

    # Folding

    def settle(self, model: str) -> None:
        """Fold what the logs hold of a model. Whoever pins a version of a table, or rewrites files, settles first."""
        with self.locked(model):
            for kind in KINDS:
                fold(self.table(model, kind), self.tail, (model, kind))

    def folder(self) -> Folder:
        """A thread, not started yet, that folds in the background."""
        return Folder(self.tail, self.table, self.locked)

    def adopt(self) -> None:
        """Fold the logs of processes that died."""
        adopt(self.tail, self.table, self.locked)

    def close(self) -> None:
        """Fold what this process has accepted and give its log up."""
        try:
            for model, _ in self.tail.backlog():
                self.settle(model)
        finally:
            self.tail.close()

    @contextmanager
    def locked(self, model: str) -> Iterator[None]:
        """Be the only one to write a model's tables, across threads and processes; the same thread may enter again.

        The kernel frees the lock of a killed process. Rows are accepted meanwhile: they go to the logs.
        """
        held: dict[str, int] = self._held.__dict__.setdefault("models", {})
        if model in held:
            yield
            return
        self.lock_dir.mkdir(parents=True, exist_ok=True)
        with (self.lock_dir / f"{model}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held[model] = 1
            try:
                yield
            finally:
                del held[model]

    def table(self, model: str, kind: str) -> "Table":
        from monitor.lake.table import Table

        with self._guard:
            if (found := self._tables.get((model, kind))) is None:
                found = self._tables[model, kind] = Table(self.root / model / kind, IDENTITIES[kind], self._key)
            return found

    @cached_property
    def _key(self) -> "Key":
        from monitor.lake.id_file import Key

        return Key.of(self.root)

    def append_quarantine(self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime) -> int:
        """Keep rejected rows whose `id` is new; on disk when this returns.

        Args:
            frame: the columns of `QUARANTINE_FIELDS` but `ts` and `seq`.
            now: their arrival, stored as `ts`.

        Returns:
            How many were new.
        """
        frame = _typed(frame, QUARANTINE_FIELDS, ts=now)
        with self._acceptance.of(spec.model) as accepting:
            fresh, _ = accepting.unseen("quarantine", frame)
            if fresh.height:
                accepting.write("quarantine", fresh, now)
        self._acknowledge(spec, None)  # no verdict rests on them
        return fresh.height

    def subject_digest(self, value: str) -> str:
        """What is stored in place of a subject: HMAC-SHA256 under the installation's subject key, hexadecimal.

        A row that was kept in quarantine holds `[subject:DIGEST]` already; that comes out as it went in.
        """
        if kept := _DIGESTED.fullmatch(value):
            return kept[1]
        return hmac.digest(self._subject_key, value.encode(), "sha256").hex()

    # Reading

    def extent(self, model: str) -> Extent:
        """How far the rows reach, from headers and logs alone; no row is read."""
        events, waiting = self._reached(model, "events")
        outcomes, waiting_outcomes = self._reached(model, "outcomes")
        headers = [record.header for record in waiting]
        return Extent(
            rows=events.rows + sum(h.rows for h in headers),
            next_seq=max([events.next_seq, *(h.first_seq + h.rows for h in headers)]),
            first_ts=min([*_known(events.lowest("ts")), *(when(h.low_ts) for h in headers)], default=None),
            last_ts=max([*_known(events.highest("ts")), *(when(h.high_ts) for h in headers)], default=None),
            last_received_at=max(
                [*_known(events.highest("received_at")), *(when(h.received_at) for h in headers)], default=None
            ),
            events_version=events.version, outcomes_version=outcomes.version,
            outcomes=outcomes.rows + sum(r.header.rows for r in waiting_outcomes),
            next_outcome=max([outcomes.next_seq, *(r.header.first_seq + r.header.rows for r in waiting_outcomes)]),
        )  # fmt: skip

    def scan(
        self,
        model: str,
        *,
        version: int | None = None,
        from_seq: int | None = None,
        to_seq: int | None = None,
        from_ts: datetime | None = None,
        to_ts: datetime | None = None,
    ) -> "pl.LazyFrame":
        """Events, lazily and in no order, with `date`; the bounds also spare opening files that cannot hold them."""
        import polars as pl

        rows = self._rows(
            model, "events", version=version, from_seq=from_seq, to_seq=to_seq, from_ts=from_ts, to_ts=to_ts
        )
        if "ts" not in rows.collect_schema():
            from monitor.lake.scan import DTYPES

            return pl.LazyFrame(schema={**{n: DTYPES[k] for n, k in EVENT_FIELDS.items()}, "date": pl.Date})
        return rows.with_columns(pl.col("ts").dt.date().alias("date"))

    def events(
        self,
        model: str,
        *,
        from_seq: int | None = None,
        to_seq: int | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> "pl.DataFrame":
        """Events with from_seq <= seq < to_seq in arrival order; a column the table lacks comes back null.

        `version` pins the Delta version read; without it, the newest.
        """
        import polars as pl

        rows = self.scan(model, version=version, from_seq=from_seq, to_seq=to_seq)
        if columns is None:
            return rows.sort("seq").collect()
        present = set(rows.collect_schema().names())
        absent = [pl.lit(None).alias(name) for name in columns if name not in present]
        return rows.select({*columns, "seq"} & present).sort("seq").collect().with_columns(absent).select(columns)

    def outcomes(
        self,
        model: str,
        *,
        ids: "pl.Series | None" = None,
        version: int | None = None,
        to_seq: int | None = None,
    ) -> "pl.DataFrame":
        """What is known of events: one row each, in the order they last changed (`merge_outcomes.merged`).

        `ids`: of these events alone, whose rows alone are held; `to_seq`: as it was before that row of outcomes.
        """
        import polars as pl

        from monitor.events.merge_outcomes import merged

        rows = self._rows(model, "outcomes", version=version, to_seq=to_seq, keys=ids)
        if "event_id" not in rows.collect_schema():
            times = dict.fromkeys(("ts", "first_ts"), pl.Datetime("us", "UTC"))
            return pl.DataFrame(schema={"event_id": pl.String, "seq": pl.Int64, **times})
        return merged(rows.collect())

    def quarantine(
        self, model: str, *, from_seq: int | None = None, from_ts: datetime | None = None, to_ts: datetime | None = None
    ) -> "pl.LazyFrame":
        """Rejected rows, lazily and in no order: the columns of `QUARANTINE_FIELDS`."""
        import polars as pl

        from monitor.lake.scan import DTYPES

        rows = self._rows(model, "quarantine", from_seq=from_seq, from_ts=from_ts, to_ts=to_ts)
        if "id" not in rows.collect_schema():
            return pl.LazyFrame(schema={n: DTYPES[k] for n, k in QUARANTINE_FIELDS.items()})
        return rows

    def quarantined(self, model: str) -> int:
        """How many rejected rows are kept, decided upon or not."""
        snapshot, waiting = self._reached(model, "quarantine")
        return snapshot.rows + sum(record.header.rows for record in waiting)

    def arrived(
        self,
        model: str,
        from_seq: int,
        to_seq: int | None = None,
        *,
        until: datetime | None = None,
        columns: Sequence[str] = (),
    ) -> "pl.DataFrame":
        """Rows of outcomes in order of arrival, several of an event among them: `event_id`, `seq`, `ts`, columns.

        A column nobody has sent yet is null. `until`: those that had arrived by then.
        """
        import polars as pl

        rows = self._rows(model, "outcomes", from_seq=from_seq, to_seq=to_seq)
        present = rows.collect_schema().names()
        if "event_id" not in present:
            own = {"event_id": pl.String, "seq": pl.Int64}
            return pl.DataFrame(schema={**own, "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(columns, pl.Null)})
        if until is not None:
            rows = rows.filter(pl.col("ts") <= until)
        wanted = [pl.col(c) if c in present else pl.lit(None).alias(c) for c in columns]
        return rows.select("event_id", "seq", "ts", *wanted).sort("seq").collect()

    def events_of(self, model: str, ids: "pl.Series", columns: Sequence[str]) -> "pl.DataFrame":
        """Columns of some events, in no order; only the files that have any of them are read."""
        import polars as pl

        rows = self._rows(model, "events", keys=ids)
        if "event_id" not in rows.collect_schema():
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))
        return rows.select(columns).collect()

    def labelled(
        self,
        model: str,
        *,
        from_seq: int | None = None,
        to_seq: int | None = None,
        columns: Sequence[str] | None = None,
        events_version: int | None = None,
        outcomes_version: int | None = None,
    ) -> "pl.DataFrame":
        """Events that have an outcome, in arrival order, with the outcome columns and when the first of them came.

        `columns` names event columns; outcome columns and `outcome_ts` are always there.
        """
        wanted = None if columns is None else list(dict.fromkeys([*columns, "event_id"]))
        events = self.events(model, from_seq=from_seq, to_seq=to_seq, columns=wanted, version=events_version)
        joined = self.with_outcomes(model, events, version=outcomes_version)
        return joined if columns is None or "event_id" in columns else joined.drop("event_id")

    def with_outcomes(self, model: str, events: "pl.DataFrame", *, version: int | None = None) -> "pl.DataFrame":
        """Those of some events that have an outcome, in their order, with the outcome columns and `outcome_ts`."""
        outcomes = self.outcomes(model, ids=events["event_id"], version=version)
        outcomes = outcomes.drop("seq", "ts").rename({"first_ts": "outcome_ts"})
        outcomes = outcomes.select("event_id", "outcome_ts", *outcomes.drop("event_id", "outcome_ts").columns)
        events = events.drop([c for c in outcomes.columns if c != "event_id" and c in events.columns])
        return events.join(outcomes, on="event_id", how="inner", maintain_order="left")

    def event(self, model: str, event_id: str) -> dict[str, Any] | None:
        """One event with its outcome columns, if any; None when it is not stored."""
        rows = self._rows_of(model, "events", event_id)
        if not rows:
            return None
        event = {**dict.fromkeys(self._rows(model, "events").collect_schema()), **rows[0], "date": rows[0]["ts"].date()}
        outcome: dict[str, Any] = dict.fromkeys(self._rows(model, "outcomes").collect_schema())
        first_ts = None
        for row in self._rows_of(model, "outcomes", event_id):  # the newest value of each column counts
            first_ts = first_ts or row["ts"]
            outcome |= {name: value for name, value in row.items() if value is not None}
        if "ts" in outcome:
            outcome["outcome_ts"] = first_ts
        return event | {name: value for name, value in outcome.items() if name not in OUTCOME_FIELDS}

    def check_writable(self) -> None:
        """Raise OSError where the lake's folder cannot be written (readiness)."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / ".ready"
        probe.write_bytes(b"ready")
        probe.unlink(missing_ok=True)

    # Inside

    def _rows(self, model: str, kind: str, *, version: int | None = None, **bounds: Any) -> "pl.LazyFrame":
        """Rows of a table and, unless a version is pinned, of the logs, within the bounds `Table.scan_at` knows."""
        import polars as pl

        table = self.table(model, kind)
        if version is not None:
            return table.scan_at(table.snapshot(version), **bounds)
        while True:
            snapshot, waiting = self._reached(model, kind)
            try:
                held = [record for record in waiting if _may_hold(record, bounds)]
                if not snapshot.columns:
                    held = held or waiting[:1]  # no row of it, but the columns there are
                frame = self.tail.frame(held) if held else None
            except RecordGoneError:  # folded meanwhile: the table has it now
                continue
            rows = table.scan_at(snapshot, **bounds)
            if frame is None:
                return rows
            tail = frame.lazy()
            if (keys := bounds.get("keys")) is not None:
                tail = tail.filter(pl.col(table.identity.key).is_in(keys.implode()))
            for column, first, end in (("seq", "from_seq", "to_seq"), ("ts", "from_ts", "to_ts")):
                if bounds.get(first) is not None:
                    tail = tail.filter(pl.col(column) >= bounds[first])
                if bounds.get(end) is not None:
                    tail = tail.filter(pl.col(column) < bounds[end])
            return pl.concat([rows, tail], how="diagonal") if snapshot.columns else tail

    def _rows_of(self, model: str, kind: str, key: str) -> list[dict[str, Any]]:
        """The rows of an id by `seq`: those of the logs, then those of the table.

        In that order: a row that is folded in between is found twice, and counted once.
        """
        import polars as pl

        table, held = self.table(model, kind), list[dict[str, Any]]()
        while waiting := self._reached(model, kind)[1]:
            with suppress(RecordGoneError):
                held = self.tail.frame(waiting).filter(pl.col(table.identity.key) == key).to_dicts()
                break
        found = {row["seq"]: row for row in (*held, *table.find(key))}
        return [found[seq] for seq in sorted(found)]

    def _reached(self, model: str, kind: str) -> tuple["Snapshot", list[Record]]:
        """The table, and the records it lacks.

        First the logs are read, then the table: what is folded in between is found in both and counted once; the
        other way round it would be found in neither.
        """
        self.tail.refresh()
        table = self.table(model, kind)
        waiting = self.tail.pending((model, kind), {})
        table.watch(self.tail.names)
        snapshot = table.snapshot()
        return snapshot, [r for r in waiting if r.end > snapshot.txns.get(r.log, 0)]

    def _digested(self, values: "pl.Series") -> "pl.Series":
        import polars as pl

        digests = {v: self.subject_digest(str(v)) for v in values.unique().drop_nulls().to_list()}
        return pl.Series(values.name, [digests.get(v) for v in values.to_list()], dtype=pl.String)


def _demand(frame: "pl.DataFrame", names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns or frame[name].null_count():
            raise InvalidError(f"column {name} is missing or has an empty value; every row needs it", field=name)


def _typed(frame: "pl.DataFrame", columns: dict[str, str], **given: "datetime | pl.Series") -> "pl.DataFrame":
    """The columns a table stores, but `seq`: `given` ones, one value for all rows or one for each, and those that were
    sent; the others are null.

    Column by column: a request of a few rows would spend most of its time in planning a query.
    """
    import polars as pl

    from monitor.lake.scan import DTYPES

    found = []
    for name, kind in columns.items():
        dtype = DTYPES[kind]
        if (value := given.get(name)) is not None:
            if not isinstance(value, pl.Series):
                value = pl.Series(name, [value], dtype=dtype).new_from_index(0, frame.height)
            found.append(value.alias(name))
        elif name not in frame.columns:
            found.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height))
        elif name != "seq":
            column = frame.get_column(name)
            found.append(column if column.dtype == dtype else column.cast(dtype))
    return pl.DataFrame([column for column in found if column.name != "seq"])


def _known(value: datetime | None) -> list[datetime]:
    return [] if value is None else [value]


def _may_hold(record: Record, bounds: dict[str, Any]) -> bool:
    header = record.header
    first, end = bounds.get("from_seq"), bounds.get("to_seq")
    if (end is not None and header.first_seq >= end) or (first is not None and header.first_seq + header.rows <= first):
        return False
    from_ts, to_ts = bounds.get("from_ts"), bounds.get("to_ts")
    return (to_ts is None or when(header.low_ts) < to_ts) and (from_ts is None or when(header.high_ts) >= from_ts)

"""The event store: what a model was asked and answered, and what turned out to be true, as Delta tables.

Two tables per model, `{lake}/{model}/events` and `{lake}/{model}/outcomes`. Appends are idempotent by `event_id`
across requests and processes: check and append happen under one lock per model. polars and deltalake are imported
when first used, so that a process that only answers questions about metadata starts without them.
"""

import fcntl
import hmac
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import InvalidError
from monitor.schema import ModelSpec

if TYPE_CHECKING:
    import polars as pl

    from monitor.ids import IdIndex
    from monitor.lake import DataFile, Snapshot, Table

DELTA_TYPES: Final = {
    "number": "double",
    "category": "string",
    "text": "string",
    "string": "string",
    "boolean": "boolean",
}
EVENT_FIELDS: Final = {
    "event_id": "string", "ts": "timestamp", "version": "string", "trace_id": "string", "span_id": "string",
    "seq": "long", "received_at": "timestamp",
}  # fmt: skip
_JOINED_BY: Final = ("event_id", "seq", "received_at")
OUTCOME_FIELDS: Final = {"event_id": "string", "ts": "timestamp", "seq": "long"}


@dataclass(frozen=True, slots=True)
class Appended:
    accepted: int
    duplicates: int
    version: int  # of the Delta table after the append


@dataclass(frozen=True, slots=True)
class AppendedOutcomes:
    accepted: int
    duplicates: int
    unknown: tuple[int, ...]  # positions of rows whose event is not stored
    version: int


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
    outcomes: int


class _Ids:
    """Ids of one table, brought up to date from the files that were added since the last look."""

    def __init__(self, table: "Table") -> None:
        from monitor.ids import IdIndex

        self.table = table
        self.index: IdIndex = IdIndex()
        self._files: set[str] = set()
        self._seen: Snapshot | None = None  # a table of many files is not gone through again for each append
        self._guard = threading.Lock()

    def current(self) -> "IdIndex":
        snapshot = self.table.snapshot()
        with self._guard:
            if snapshot is self._seen:
                return self.index
            added: list[DataFile] = [f for f in snapshot.files if f.path not in self._files]
            if added:
                ids = self.table.scan_files(snapshot, added).select("event_id").collect()["event_id"]
                self.index.add(ids)
                self._files.update(f.path for f in added)
            self._seen = snapshot
            return self.index

    def extend(self, ids: "pl.Series") -> None:
        """Take in the rows this process has just committed."""
        with self._guard:
            now, before = self.table.snapshot(), self._seen
            follows = before is not None and now.version == before.version + 1
            fresh = now.files[len(before.files) :] if follows and before is not None else now.files
            self.index.add(ids)
            self._files.update(f.path for f in fresh)
            self._seen = now


class EventStore:
    def __init__(self, lake_uri: str, lock_dir: Path, subject_key: bytes) -> None:
        path = lake_uri.removeprefix("file://")
        if "://" in path:
            raise InvalidError(
                f"lake.uri {lake_uri!r} is not a local folder; this release keeps its Delta tables on a local disk",
                field="lake.uri",
            )
        self.root = Path(path).expanduser()
        self.lock_dir = lock_dir
        self._subject_key = subject_key
        self._tables: dict[tuple[str, str], Table] = {}
        self._ids: dict[tuple[str, str], _Ids] = {}
        self._guard = threading.Lock()

    # Appending

    def append_events(self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime) -> Appended:
        """Store the rows whose `event_id` is new; on disk when this returns.

        Args:
            frame: `event_id`, `ts`, `version` (none null) and any of `trace_id`, `span_id` and the spec's event
                columns, already of the declared types; the first row of an `event_id` wins.
            now: becomes `received_at`.

        Raises:
            InvalidError: a required column is missing or holds a null.
            StoreFullError: no room on the disk; nothing was stored.
        """
        import polars as pl

        _demand(frame, ("event_id", "ts", "version"))
        columns = {name: DELTA_TYPES[c.type] for name, c in spec.event_columns.items()}
        for name in spec.with_role("subject"):
            columns[name] = "string"
            if name in frame.columns:
                frame = frame.with_columns(self._digested(frame[name]))
        with self._locked(spec.model):
            table, ids = self._table(spec.model, "events"), self._known(spec.model, "events")
            fresh, duplicates = _unseen(frame, ids.current())
            if not fresh.height:
                return Appended(0, duplicates, table.snapshot().version)
            first = _next_seq(table)
            fresh = fresh.with_columns(
                pl.int_range(first, first + fresh.height, dtype=pl.Int64).alias("seq"), _at(now).alias("received_at")
            )
            version = self._commit(table, fresh, {**EVENT_FIELDS, **columns})
            ids.extend(fresh["event_id"])
        return Appended(fresh.height, duplicates, version)

    def append_outcomes(self, spec: ModelSpec, frame: "pl.DataFrame", *, now: datetime) -> AppendedOutcomes:
        """Store outcomes of known events; the first outcome of an event wins, later ones count as duplicates.

        Args:
            frame: `event_id` and any of the spec's outcome columns.
            now: arrival of the outcomes, stored as `ts`.
        """
        import polars as pl

        _demand(frame, ("event_id",))
        columns = {name: DELTA_TYPES[c.type] for name, c in spec.outcome_columns.items()}
        with self._locked(spec.model):
            table, ids = self._table(spec.model, "outcomes"), self._known(spec.model, "outcomes")
            known = pl.Series(self._known(spec.model, "events").current().contains(frame["event_id"]))
            unknown = tuple((~known).arg_true().to_list())
            fresh, duplicates = _unseen(frame.filter(known), ids.current())
            if not fresh.height:
                return AppendedOutcomes(0, duplicates, unknown, table.snapshot().version)
            first = _next_seq(table)
            fresh = fresh.with_columns(
                pl.int_range(first, first + fresh.height, dtype=pl.Int64).alias("seq"), _at(now).alias("ts")
            )
            version = self._commit(table, fresh, {**OUTCOME_FIELDS, **columns})
            ids.extend(fresh["event_id"])
        return AppendedOutcomes(fresh.height, duplicates, unknown, version)

    def subject_digest(self, value: str) -> str:
        """What is stored in place of a subject: HMAC-SHA256 under the installation's subject key, hexadecimal."""
        return hmac.digest(self._subject_key, value.encode(), "sha256").hex()

    # Reading

    def extent(self, model: str) -> Extent:
        """How far the tables reach, from the log alone; no data file is opened."""
        events, outcomes = self._table(model, "events").snapshot(), self._table(model, "outcomes").snapshot()
        highest = events.highest("seq")
        return Extent(
            rows=events.rows, next_seq=0 if highest is None else highest + 1,
            first_ts=events.lowest("ts"), last_ts=events.highest("ts"), last_received_at=events.highest("received_at"),
            events_version=events.version, outcomes_version=outcomes.version, outcomes=outcomes.rows,
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

        rows = self._table(model, "events").scan(
            version=version, from_seq=from_seq, to_seq=to_seq, from_ts=from_ts, to_ts=to_ts
        )
        if "ts" not in rows.collect_schema():
            from monitor.lake import DTYPES

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

    def outcomes(self, model: str, *, version: int | None = None, from_ts: datetime | None = None) -> "pl.DataFrame":
        """Outcomes from `from_ts` on in arrival order: `event_id`, `ts` (arrival), outcome columns."""
        import polars as pl

        rows = self._table(model, "outcomes").scan(version=version, from_ts=from_ts)
        if "event_id" not in rows.collect_schema():
            return pl.DataFrame(schema={"event_id": pl.String, "ts": pl.Datetime("us", "UTC")})
        return rows.sort("seq").drop("seq").collect()

    def outcomes_since(self, model: str, from_seq: int) -> "pl.DataFrame":
        """Outcomes from a sequence number on, in arrival order, with `seq`; no column where none ever came."""
        import polars as pl

        rows = self._table(model, "outcomes").scan(from_seq=from_seq)
        if "event_id" not in rows.collect_schema():
            return pl.DataFrame(schema={"event_id": pl.String, "seq": pl.Int64})
        return rows.sort("seq").collect()

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
        """Events that have an outcome, in arrival order, with the outcome columns and `outcome_ts`.

        `columns` names event columns; outcome columns are always there.
        """

        wanted = None if columns is None else list(dict.fromkeys([*columns, *_JOINED_BY]))
        events = self.events(model, from_seq=from_seq, to_seq=to_seq, columns=wanted, version=events_version)
        # No outcome arrives before its event did: older outcome files need not be opened.
        earliest: Any = events["received_at"].min()
        outcomes = self.outcomes(model, version=outcomes_version, from_ts=earliest).rename({"ts": "outcome_ts"})
        events = events.drop([c for c in outcomes.columns if c != "event_id" and c in events.columns])
        joined = events.join(outcomes, on="event_id", how="inner", maintain_order="left")
        return joined if columns is None else joined.drop([c for c in _JOINED_BY if c not in columns])

    def event(self, model: str, event_id: str) -> dict[str, Any] | None:
        """One event with its outcome columns, if any; None when it is not stored."""
        import polars as pl

        rows = self.scan(model).filter(pl.col("event_id") == event_id).head(1).collect()
        if not rows.height:
            return None
        outcome = self._table(model, "outcomes").scan()
        if "event_id" in outcome.collect_schema():
            found = (
                outcome.filter(pl.col("event_id") == event_id)
                .drop("seq")
                .rename({"ts": "outcome_ts"})
                .head(1)
                .collect()
            )
            rows = rows.join(found, on="event_id", how="left")
        return rows.row(0, named=True)

    def check_writable(self) -> None:
        """Raise OSError where the lake's folder cannot be written (readiness)."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / ".ready"
        probe.write_bytes(b"ready")
        probe.unlink(missing_ok=True)

    # Inside

    def _commit(self, table: "Table", frame: "pl.DataFrame", columns: dict[str, str]) -> int:
        import polars as pl

        from monitor.lake import DTYPES

        typed = frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(DTYPES[kind]).alias(name)
            for name, kind in columns.items()
        )
        return table.append(
            typed.with_columns(pl.col("ts").dt.date().alias("date")), {**columns, "date": "date"}
        ).version

    def _digested(self, values: "pl.Series") -> "pl.Series":
        import polars as pl

        digests = {v: self.subject_digest(str(v)) for v in values.unique().drop_nulls().to_list()}
        return pl.Series(values.name, [digests.get(v) for v in values.to_list()], dtype=pl.String)

    def _table(self, model: str, which: str) -> "Table":
        from monitor.lake import Table

        with self._guard:
            return self._tables.setdefault((model, which), Table(self.root / model / which))

    def _known(self, model: str, which: str) -> _Ids:
        table = self._table(model, which)
        with self._guard:
            if (model, which) not in self._ids:
                self._ids[model, which] = _Ids(table)
            return self._ids[model, which]

    @contextmanager
    def _locked(self, model: str) -> Iterator[None]:
        """One writer per model, across threads and processes; the kernel frees the lock of a killed process."""
        self.lock_dir.mkdir(parents=True, exist_ok=True)
        with (self.lock_dir / f"{model}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _at(now: datetime) -> "pl.Expr":
    import polars as pl

    return pl.lit(now, dtype=pl.Datetime("us", "UTC"))


def _demand(frame: "pl.DataFrame", names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns or frame[name].null_count():
            raise InvalidError(f"column {name} is missing or has an empty value; every row needs it", field=name)


def _next_seq(table: "Table") -> int:
    highest = table.snapshot().highest("seq")
    return 0 if highest is None else int(highest) + 1


def _unseen(frame: "pl.DataFrame", known: "IdIndex") -> tuple["pl.DataFrame", int]:
    import polars as pl

    ids = frame["event_id"]
    new = pl.Series(~known.contains(ids))
    if ids.n_unique() < len(ids):
        new &= ids.is_first_distinct()
    elif new.all():  # nearly always; the columns are not copied
        return frame, 0
    fresh = frame.filter(new)
    return fresh, frame.height - fresh.height

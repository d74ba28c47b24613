"""Reading: events, outcomes and rejected rows of a model, from its tables and from the logs in front of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from monitor.events.columns import EVENT_FIELDS, OUTCOME_FIELDS, QUARANTINE_FIELDS
from monitor.events.event_tables import EventTables
from monitor.events.replacements import newest_replacements, overlaid
from monitor.events.wal_records import Record, RecordGoneError, from_micros

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a model's tables reach. A table without rows has version -1."""

    rows: int
    next_seq: int
    first_ts: datetime | None
    last_ts: datetime | None
    last_received_at: datetime | None
    events_version: int
    outcomes_version: int
    outcomes: int  # rows of outcomes; an event may have several
    next_outcome: int  # the `seq` of the next outcome


class EventReader(EventTables):
    """The tables with every way to read them."""

    def extent(self, model: str) -> Extent:
        """How far the rows reach, from file statistics and record headers alone; no row is read."""
        events, waiting = self._reached(model, "events")
        outcomes, waiting_outcomes = self._reached(model, "outcomes")
        headers = [record.header for record in waiting]
        return Extent(
            rows=events.rows + sum(h.rows for h in headers),
            next_seq=max([events.next_seq, *(h.first_seq + h.rows for h in headers)]),
            first_ts=min([*_present(events.lowest("ts")), *(from_micros(h.low_ts) for h in headers)], default=None),
            last_ts=max([*_present(events.highest("ts")), *(from_micros(h.high_ts) for h in headers)], default=None),
            last_received_at=max(
                [*_present(events.highest("received_at")), *(from_micros(h.received_at) for h in headers)],
                default=None,
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
        """Events, lazily and in no order, with `date`; files that cannot hold rows within the bounds stay closed."""
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
        """Events with from_seq <= seq < to_seq in arrival order; a column that the table lacks is null.

        `version` pins the Delta version to read; the default is the newest.
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
        """What is known about events: one row each, in the order of their last change (`merge_outcomes.merged`).

        Args:
            model: whose events.
            ids: only these events; no other rows are held in memory.
            version: pins the Delta version to read; the default is the newest.
            to_seq: only rows of outcomes with seq < to_seq, which gives an earlier state.
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
        """How many rejected rows are stored, whether or not someone has decided about them."""
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
        """Rows of outcomes in order of arrival, as sent, possibly several for one event.

        Args:
            model: whose outcomes.
            from_seq, to_seq: only rows with from_seq <= seq < to_seq.
            until: only rows that had arrived by then.
            columns: outcome columns to return; a column that was never sent is null.

        Returns:
            `event_id`, `seq`, `ts` and `columns`.
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

    def events_of(self, model: str, ids: "pl.Series", columns: Sequence[str] | None = None) -> "pl.DataFrame":
        """Columns of the events with these ids, in no order; only files that hold one of them are read."""
        import polars as pl

        rows = self._rows(model, "events", keys=ids)
        if "event_id" not in rows.collect_schema():
            return pl.DataFrame(schema=dict.fromkeys(columns or EVENT_FIELDS, pl.Null))
        return (rows if columns is None else rows.select(columns)).collect()

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
        """Events that have an outcome, in arrival order, with the outcome columns and the arrival of the first outcome.

        `columns` selects event columns; the outcome columns and `outcome_ts` are always included.
        """
        wanted = None if columns is None else list(dict.fromkeys([*columns, "event_id"]))
        events = self.events(model, from_seq=from_seq, to_seq=to_seq, columns=wanted, version=events_version)
        joined = self.with_outcomes(model, events, version=outcomes_version)
        return joined if columns is None or "event_id" in columns else joined.drop("event_id")

    def with_outcomes(self, model: str, events: "pl.DataFrame", *, version: int | None = None) -> "pl.DataFrame":
        """Those of the given events that have an outcome, in the same order, with outcome columns and `outcome_ts`."""
        outcomes = self.outcomes(model, ids=events["event_id"], version=version)
        outcomes = outcomes.drop("seq", "ts").rename({"first_ts": "outcome_ts"})
        outcomes = outcomes.select("event_id", "outcome_ts", *outcomes.drop("event_id", "outcome_ts").columns)
        events = events.drop([c for c in outcomes.columns if c != "event_id" and c in events.columns])
        return events.join(outcomes, on="event_id", how="inner", maintain_order="left")

    def event(self, model: str, event_id: str) -> dict[str, Any] | None:
        """One event with its outcome columns, if it has an outcome; None when it is not stored."""
        import polars as pl

        if self.has_replacements(model):
            event_id = self.standing_for(model, pl.Series([event_id])).get(event_id, event_id)
            rows = self._rows(model, "events", keys=pl.Series([event_id])).collect().to_dicts()
        else:
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

    def outcome_history(self, model: str, event_id: str) -> list[dict[str, Any]]:
        """The rows of outcomes about one event as they arrived, oldest first; `ts` is when each did."""
        return self._rows_of(model, "outcomes", event_id)

    def has_replacements(self, model: str) -> bool:
        """Whether other records of stored events are stored."""
        snapshot, waiting = self._reached(model, "replacements")
        return bool(snapshot.columns or waiting)

    def revised(self, model: str, rows: "pl.LazyFrame", **bounds: Any) -> "pl.LazyFrame":
        """Events with the fullest record of each in its place; `rows` are those of the table within the bounds."""
        replacements = self._table_rows(model, "replacements")
        return overlaid(rows, replacements, newest_replacements(replacements), bounds)

    def standing_for(self, model: str, ids: "pl.Series | None" = None) -> dict[str, str]:
        """The events that other ids of theirs stand for, by these ids; of the given ones, or all."""
        import polars as pl

        if not self.has_replacements(model):
            return {}
        rows = self._table_rows(model, "replacements")
        rows = rows if ids is None else rows.filter(pl.col("event_id").is_in(ids.implode()))
        found = rows.select("event_id", "@of").collect()
        return {own: of for own, of in found.iter_rows() if own != of}

    def _rows(self, model: str, kind: str, *, version: int | None = None, **bounds: Any) -> "pl.LazyFrame":
        """Rows of a table as readers see them: `_table_rows`, with the replacements of events in their place."""
        rows = self._table_rows(model, kind, version=version, **bounds)
        return self.revised(model, rows, **bounds) if kind == "events" and self.has_replacements(model) else rows

    def _table_rows(self, model: str, kind: str, *, version: int | None = None, **bounds: Any) -> "pl.LazyFrame":
        """Rows of a table and, unless a version is pinned, of the logs, within the bounds of `LakeTable.scan_at`."""
        import polars as pl

        table = self.table(model, kind)
        if version is not None:
            return table.scan_at(table.snapshot(version), **bounds)
        while True:
            snapshot, waiting = self._reached(model, kind)
            try:
                held = [record for record in waiting if _may_hold(record, bounds)]
                if not snapshot.columns:
                    held = held or waiting[:1]  # none of its rows is within the bounds, but it knows the columns
                frame = self.unflushed.frame(held) if held else None
            except RecordGoneError:  # flushed in the meantime: the table has the rows now
                continue
            rows = table.scan_at(snapshot, **bounds)
            if frame is None:
                return rows
            unflushed = _within(frame.lazy(), table.identity.key, bounds)
            return pl.concat([rows, unflushed], how="diagonal") if snapshot.columns else unflushed

    def _rows_of(self, model: str, kind: str, key: str) -> list[dict[str, Any]]:
        """The rows with an id by `seq`: first those of the logs, then those of the table.

        In this order a row that is flushed in between is found twice, and returned once.
        """
        import polars as pl

        table, held = self.table(model, kind), list[dict[str, Any]]()
        while waiting := self._reached(model, kind)[1]:
            with suppress(RecordGoneError):
                held = self.unflushed.frame(waiting).filter(pl.col(table.identity.key) == key).to_dicts()
                break
        found = {row["seq"]: row for row in (*held, *table.find(key))}
        return [found[seq] for seq in sorted(found)]


def _within(rows: "pl.LazyFrame", key: str, bounds: dict[str, Any]) -> "pl.LazyFrame":
    """The rows within the bounds; `key` is the column that `bounds["keys"]` refers to."""
    import polars as pl

    if (keys := bounds.get("keys")) is not None:
        rows = rows.filter(pl.col(key).is_in(keys.implode()))
    for column, first, end in (("seq", "from_seq", "to_seq"), ("ts", "from_ts", "to_ts")):
        if bounds.get(first) is not None:
            rows = rows.filter(pl.col(column) >= bounds[first])
        if bounds.get(end) is not None:
            rows = rows.filter(pl.col(column) < bounds[end])
    return rows


def _may_hold(record: Record, bounds: dict[str, Any]) -> bool:
    """Whether a record may hold rows within the bounds."""
    header = record.header
    first, end = bounds.get("from_seq"), bounds.get("to_seq")
    if (end is not None and header.first_seq >= end) or (first is not None and header.first_seq + header.rows <= first):
        return False
    from_ts, to_ts = bounds.get("from_ts"), bounds.get("to_ts")
    return (to_ts is None or from_micros(header.low_ts) < to_ts) and (
        from_ts is None or from_micros(header.high_ts) >= from_ts
    )


def _present(value: datetime | None) -> list[datetime]:
    return [] if value is None else [value]

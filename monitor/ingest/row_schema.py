"""The schema that a model's rows must satisfy, prepared once per spec revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import polars as pl

from core.errors import InvalidError
from core.string_views import surely_printable
from monitor.ingest import vectors
from monitor.ingest.json_scan import KeySpans
from monitor.ingest.ndjson import Rows
from monitor.ingest.plausible_times import TimeSpan, time_span
from monitor.ingest.row_values import NAMES
from monitor.ingest.typed_columns import DTYPES, surely_finite
from monitor.ingest.validate import (
    MAX_ID_CHARS,
    MAX_VERSION_CHARS,
    OWN_COLUMNS,
    TIME_FORMAT,
    CheckedRows,
    check_events,
    check_outcomes,
    not_an_event_column,
    not_an_outcome_column,
    outcome_columns,
    storable,
)
from monitor.levels import levels
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec

UTC_MICROSECONDS: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Target:
    """Schema of the events or outcomes of one model; `columns` leaves out `ts` and has the stored order."""

    spec: ModelSpec
    columns: Mapping[str, ColumnType]
    elsewhere: Mapping[str, str]  # columns that belong to the other kind, with the advice to give
    timed: bool  # events carry their time; the time of an outcome is its arrival
    newest: datetime | None = None  # newest time of the history that is being sent, where the sender says so

    @cached_property
    def schema(self) -> dict[str, Any]:
        own = {name: DTYPES[kind] for name, kind in self.columns.items()}
        return own | {"ts": pl.String} if self.timed else own

    @cached_property
    def dimensions(self) -> dict[str, int]:
        """Number of dimensions of each vector column."""
        declared = {name: self.spec.columns[name] for name, kind in self.columns.items() if kind == "vector"}
        return {name: column.dimensions or 0 for name, column in declared.items()}

    @cached_property
    def keys(self) -> KeySpans:
        return KeySpans(dict(self.columns) | {"ts": "string"} if self.timed else self.columns)

    def examine(self, rows: Rows, now: datetime) -> CheckedRows:
        """Check the rows one by one, with a reason for each rejection."""
        return check_events(self.spec, rows, self.span(now)) if self.timed else check_outcomes(self.spec, rows)

    def span(self, now: datetime) -> TimeSpan:
        """The times that events may have."""
        return time_span(self.spec.times, now, self.newest)

    def with_levels(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Texts of categories as levels; a frame that comes from `typed_columns` has them already."""
        named = [levels(frame.get_column(name)) for name, kind in self.columns.items() if kind == "category"]
        return frame.with_columns(named) if named else frame

    def good(self, frame: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.Series]:
        """Return the columns as they are stored, and a mask of the rows that pass every rule; it gives no reasons."""
        if self.timed and frame.schema["ts"] == pl.String:
            written = pl.col("ts")
            plain = (
                written.str.len_bytes() == written.str.len_chars()
            )  # ASCII only: digits of other scripts are not accepted
            read = written.str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC", strict=False)
            ts = frame.select(pl.when(plain).then(read).alias("ts")).to_series()
        elif self.timed:
            ts = frame.get_column("ts")
        frame = pl.DataFrame([frame.get_column(name) for name in self.columns] + ([ts] if self.timed else []))
        good = frame.select(self._rules).to_series()
        ids = frame.get_column("event_id")
        if not surely_printable(ids, ascii_only=True):
            good &= (~ids.str.contains(r"\pC")).fill_null(value=False)
        for name, kind in self.columns.items():
            column = frame.get_column(name)
            if kind in NAMES and name != "event_id" and (fits := storable(column)) is not None:
                good &= fits
            elif kind == "number" and not surely_finite(column):
                good &= column.is_finite().fill_null(value=True)
        for name, size in self.dimensions.items():
            good &= vectors.good(frame.get_column(name), size)
        if self.timed:
            span = self.span(now)
            if not _surely_within(ts, span):
                good &= ts.is_between(span.earliest, span.latest).fill_null(value=False)
        return frame, good

    @cached_property
    def _rules(self) -> pl.Expr:
        ids = pl.col("event_id")
        rules = [ids.str.len_bytes() > 0, ids.str.len_chars() <= MAX_ID_CHARS]
        if self.timed:
            version = pl.col("version")
            rules += [version.str.len_bytes() > 0, version.str.len_chars() <= MAX_VERSION_CHARS]
        else:
            rules.append(pl.any_horizontal(pl.col(name).is_not_null() for name in self.columns if name != "event_id"))
        return pl.all_horizontal(rules).fill_null(value=False).alias("good")


def _surely_within(times: pl.Series, span: TimeSpan) -> bool:
    """Whether all times are within a span; False may be wrong."""
    if not len(times) or times.null_count() or times.dtype != UTC_MICROSECONDS:
        return False
    micros = times.cast(pl.Int64)
    low, high = micros.min(), micros.max()
    return isinstance(low, int) and isinstance(high, int) and span.holds(low) and span.holds(high)


def events_of(spec: ModelSpec) -> Target:
    declared = {name: c.type for name, c in spec.event_columns.items()}
    return Target(spec, {**OWN_COLUMNS, **declared}, not_an_event_column(spec), timed=True)


def outcomes_of(spec: ModelSpec) -> Target:
    """
    Raises:
        InvalidError: the spec declares no outcome column.
    """
    return Target(spec, {"event_id": "string", **outcome_columns(spec)}, not_an_outcome_column(spec), timed=False)


class SchemaMismatchError(InvalidError):
    """The columns of an Arrow or Parquet body do not match the spec; no row was read."""

    code = "schema_mismatch"

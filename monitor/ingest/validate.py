"""Turn JSON objects into a typed frame: columns are checked as a whole, and value by value only if one does not fit."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

import polars as pl

from core.clock import written_time
from core.errors import InvalidError
from core.string_views import surely_printable
from core.text import CONTROL
from monitor.ingest import vectors
from monitor.ingest.ndjson import Rejection, Rows
from monitor.ingest.plausible_times import UNITS, TimeSpan, to_micros
from monitor.ingest.row_values import NAMES, MisfitError, row_value, short
from monitor.ingest.typed_columns import DTYPES
from monitor.levels import levels
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec

MAX_ID_CHARS, MAX_VERSION_CHARS = 200, 256
# The types whose values are taken as they are. Vectors are missing: `vectors.misfit` checks each of their numbers.
_TEXT: Final[frozenset[type]] = frozenset({str, NoneType})
_TYPES: Final[Mapping[ColumnType, frozenset[type]]] = {
    "number": frozenset({int, float, NoneType}), "boolean": frozenset({bool, NoneType}), "category": _TEXT,
    "string": _TEXT, "text": _TEXT, "texts": frozenset({NoneType}),
}  # fmt: skip
OWN_COLUMNS: Final[Mapping[str, ColumnType]] = {
    "event_id": "string", "version": "string", "trace_id": "string", "span_id": "string",
}  # fmt: skip
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_EXAMPLE_TIME = "2026-03-01T12:00:00Z"
_COUNTED: Final = re.compile(r"(-?[0-9]{1,19}) (s|ms|us|ns) since 1970")  # how the Arrow reader quotes a time


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Rows fit to be stored, the line of each, and the rejections (one per row, in line order)."""

    frame: pl.DataFrame
    lines: Sequence[int]
    rejected: list[Rejection]
    body_digest: str | None = None  # SHA-256 of the decompressed body, to find the request of a rejected row


class _Batch:
    """The rows under examination; the first reason for rejecting a row is kept."""

    def __init__(self, rows: Rows) -> None:
        self.objects, self.lines = rows.objects, rows.lines
        self.refused: dict[int, tuple[str | None, str]] = {}

    def refuse(self, position: int, field: str | None, reason: str) -> None:
        self.refused.setdefault(position, (field, reason))

    def refuse_where(self, values: pl.Series, bad: pl.Series, reason: Callable[[Any], str]) -> None:
        for position in bad.fill_null(value=True).arg_true().to_list():
            self.refuse(position, values.name, reason(values[position]))

    def finish(self, columns: Mapping[str, pl.Series], rejected: Sequence[Rejection]) -> CheckedRows:
        keep = pl.Series([i not in self.refused for i in range(len(self.objects))], dtype=pl.Boolean)
        frame = pl.DataFrame(list(columns.values())).filter(keep)
        refused = [Rejection(self.lines[i], *why, self.objects[i]) for i, why in self.refused.items()]
        lines = [line for i, line in enumerate(self.lines) if i not in self.refused]
        return CheckedRows(frame, lines, sorted([*rejected, *refused], key=lambda r: r.line))


def check_events(spec: ModelSpec, rows: Rows, span: TimeSpan) -> CheckedRows:
    """Check events against the spec: declared columns of the declared types, an id, a time with a zone, a version."""
    declared = {name: c.type for name, c in spec.event_columns.items()}
    batch = _Batch(rows)
    _check_names(batch, (*OWN_COLUMNS, "ts", *declared), not_an_event_column(spec))
    sizes = {name: c.dimensions for name, c in spec.event_columns.items() if c.dimensions is not None}
    columns = {
        name: _vectors(batch, name, sizes[name]) if name in sizes else _typed(batch, name, kind)
        for name, kind in {**OWN_COLUMNS, **declared}.items()
    }
    _check_id(batch, columns["event_id"])
    _check_version(batch, columns["version"])
    columns["ts"] = _times(batch, span, rows.unit)
    return batch.finish(columns, rows.rejected)


def check_outcomes(spec: ModelSpec, rows: Rows) -> CheckedRows:
    """Check outcomes against the spec: the event's id and at least one outcome column.

    Raises:
        InvalidError: the spec declares no outcome column.
    """
    declared = outcome_columns(spec)
    batch = _Batch(rows)
    _check_names(batch, ("event_id", *declared), not_an_outcome_column(spec))
    columns = {"event_id": _typed(batch, "event_id", "string")}
    columns |= {name: _typed(batch, name, kind) for name, kind in declared.items()}
    _check_id(batch, columns["event_id"])
    empty = pl.select(pl.all_horizontal([columns[name].is_null() for name in declared])).to_series()
    for position in empty.arg_true().to_list():
        batch.refuse(position, None, no_outcome(declared))
    return batch.finish(columns, rows.rejected)


def no_outcome(declared: Iterable[str]) -> str:
    """The reason for refusing a row without any outcome."""
    return f"the row has no outcome; give at least one of: {', '.join(declared)}"


def outcome_columns(spec: ModelSpec) -> dict[str, ColumnType]:
    """Return the outcome columns of a spec with their types.

    Raises:
        InvalidError: the spec declares no outcome column.
    """
    declared = {name: c.type for name, c in spec.outcome_columns.items()}
    if not declared:
        raise InvalidError(
            f"model {spec.model} declares no column with role outcome; add one to its spec first", field="columns"
        )
    return declared


def not_an_event_column(spec: ModelSpec) -> dict[str, str]:
    """Return the declared columns that an event may not have, each with the advice to give."""
    return dict.fromkeys(spec.outcome_columns, "an outcome: send it to /outcomes")


def not_an_outcome_column(spec: ModelSpec) -> dict[str, str]:
    """Return the known columns that an outcome may not have, each with the advice to give."""
    elsewhere = dict.fromkeys(spec.event_columns, "part of the event, not of its outcome")
    return elsewhere | {"ts": "not part of an outcome: its time is when it arrives"}


def unknown_column(name: str, known: Sequence[str], elsewhere: Mapping[str, str]) -> str:
    """Return the reason for refusing a column."""
    declared = f"unknown column; the declared columns are: {', '.join(known)}. Declare it in the spec or leave it out"
    return elsewhere.get(name) or declared


def _check_names(batch: _Batch, known: Sequence[str], elsewhere: Mapping[str, str]) -> None:
    allowed = frozenset(known)
    for position, row in enumerate(batch.objects):
        if not allowed.issuperset(row):
            name = next(n for n in row if n not in allowed)
            batch.refuse(position, short(name).strip("'"), unknown_column(name, known, elsewhere))


def _typed(batch: _Batch, name: str, kind: ColumnType) -> pl.Series:
    """Build a column of its declared type; a value that does not fit becomes null and its row is refused."""
    values = [row.get(name) for row in batch.objects]
    if (series := _plain(name, values, kind)) is not None:
        return series
    for position, value in enumerate(values):
        try:
            values[position] = row_value(value, kind)
        except MisfitError as error:
            batch.refuse(position, name, str(error))
            values[position] = None
    return pl.Series(name, values, dtype=DTYPES[kind])


def _plain(name: str, values: Sequence[Any], kind: ColumnType) -> pl.Series | None:
    """A column whose values all have the declared type and are in bounds; None for any other."""
    # The JSON type is compared exactly: polars would read true as 1.0 and 3 as "3".
    if not _TYPES[kind].issuperset(map(type, values)):
        return None
    try:
        series = pl.Series(name, values, dtype=DTYPES[kind])
    except (UnicodeEncodeError, OverflowError, pl.exceptions.PolarsError):
        return None
    if kind == "number" and not series.is_finite().fill_null(value=True).all():
        return None
    found = levels(series) if kind == "category" else series
    return found if kind not in NAMES or storable(found) is None else None


def storable(values: pl.Series) -> pl.Series | None:
    """Which of the texts have no control character; None if all are without one, which is the usual case and quick."""
    if surely_printable(values):
        return None
    fits = ~values.str.contains(CONTROL.pattern)
    return None if fits.all() else fits.fill_null(value=True)


def _vectors(batch: _Batch, name: str, size: int) -> pl.Series:
    values = [row.get(name) for row in batch.objects]
    for position, value in enumerate(values):
        if reason := vectors.misfit(value, size):
            batch.refuse(position, name, reason)
            values[position] = None
    floats = [None if value is None else [float(number) for number in value] for value in values]
    return pl.Series(name, floats, dtype=pl.List(pl.Float32))


def _check_id(batch: _Batch, ids: pl.Series) -> None:
    batch.refuse_where(
        ids,
        ids.is_null() | (ids.str.len_bytes() == 0),
        lambda _: "missing or empty; every row needs the id of its event",
    )
    batch.refuse_where(
        ids,
        ids.str.len_chars() > MAX_ID_CHARS,
        lambda v: f"has {len(v or '')} characters; at most {MAX_ID_CHARS} are allowed",
    )
    batch.refuse_where(
        ids, ids.str.contains(r"\pC"), lambda _: "contains a control character; use printable characters"
    )


def _check_version(batch: _Batch, versions: pl.Series) -> None:
    empty = versions.is_null() | (versions.str.len_bytes() == 0)
    batch.refuse_where(versions, empty, lambda _: "missing or empty; give the version of the model that answered")
    long = versions.str.len_chars() > MAX_VERSION_CHARS
    batch.refuse_where(
        versions, long, lambda v: f"has {len(v or '')} characters; at most {MAX_VERSION_CHARS} are allowed"
    )


def _times(batch: _Batch, span: TimeSpan, unit: str) -> pl.Series:
    """Parse event times into UTC; accepts RFC 3339, and other ISO 8601 forms with a zone that Python reads."""
    values = [row.get("ts") for row in batch.objects]
    text = pl.Series("ts", [v if isinstance(v, str) and v.isascii() else None for v in values], dtype=pl.String)
    times = text.str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC", strict=False)
    # Polars also parses years beyond Python's calendar. The bounds reject them before they become Python values.
    outside = (~times.is_between(span.earliest, span.latest)).fill_null(value=False)
    micros = times.dt.epoch("us")
    for position in outside.arg_true().to_list():
        batch.refuse(position, "ts", span.reason(short(values[position]), micros[position], unit))
    if not times.is_null().any():
        return times
    read = times.set(outside, None).to_list()
    for position in (times.is_null()).arg_true().to_list():
        read[position] = _time(batch, position, values[position], span, unit)
    return pl.Series("ts", read, dtype=pl.Datetime("us", "UTC"))


def _time(batch: _Batch, position: int, value: Any, span: TimeSpan, unit: str) -> datetime | None:
    if value is None:
        batch.refuse(position, "ts", f"missing; every event needs its time with a zone, such as {_EXAMPLE_TIME}")
        return None
    if isinstance(value, str) and (counted := _COUNTED.fullmatch(value)):  # beyond the calendar
        micros = int(counted[1]) * 10**6 // UNITS[counted[2]]
        batch.refuse(position, "ts", span.reason(short(value), micros, counted[2]))
        return None
    try:
        at = written_time(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None:
        written = span.written(value) or f"write it with its zone, such as {_EXAMPLE_TIME}"
        batch.refuse(position, "ts", f"{short(value)} is not a time; {written}")
        return None
    if at.tzinfo is None:
        batch.refuse(position, "ts", f"{short(value)} has no zone; add Z or an offset such as +01:00")
        return None
    micros = to_micros(at)
    if not span.holds(micros):
        batch.refuse(position, "ts", span.reason(short(value), micros, unit))
        return None
    return at.astimezone(UTC)

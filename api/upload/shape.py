"""Turn rows of a file into requests: rows that fit the spec go as columns, the others as JSON.

This module drops nothing. A value that does not fit is sent unchanged, so that the service refuses its row with a
reason and keeps it in quarantine, as for any other producer.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import polars as pl

from api.upload.batches import Batch
from core.clock import written_time
from core.errors import InvalidError
from monitor.ingest.media import ARROW, NDJSON
from monitor.ingest.ndjson import json_line, read_object
from monitor.ingest.row_schema import UTC_MICROSECONDS
from monitor.ingest.row_values import is_missing
from monitor.ingest.times import read_time, read_times
from monitor.ingest.typed_columns import ACCEPTED, far_time, json_value, typed_column
from monitor.ingest.validate import OWN_COLUMNS, TIME_FORMAT
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec

_EXAMPLE_TIME: Final = "2026-03-01T12:00:00Z"


@dataclass(frozen=True)
class UploadPlan:
    """How the columns of a file become rows of a model."""

    spec: ModelSpec
    outcomes_only: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)  # "" drops the column
    constants: Mapping[str, str] = field(default_factory=dict)  # values of columns that the file does not have
    ids: str | None = None  # prefix of generated ids; the row's number follows
    ts_as: str = ""  # how times are read, see `monitor.ingest.times`; empty if they say their zone

    @property
    def changes_lines(self) -> bool:
        """Whether a JSON row is sent otherwise than it stands in the file."""
        return bool(self.rename or self.constants or self.ids is not None or self.outcomes_only or self.ts_as)

    @property
    def kinds(self) -> dict[str, ColumnType]:
        """Types of the columns that a file may have, by their new names."""
        declared = self.spec.outcome_columns if self.outcomes_only else self.spec.columns
        return {**OWN_COLUMNS, **{name: c.type for name, c in declared.items()}}


@dataclass(frozen=True)
class UploadBody:
    """A request body, and for each of its rows the row number in the file."""

    kind: str  # events or outcomes
    media_type: str
    rows: Sequence[int]
    content: bytes
    halves: Callable[[], "tuple[Sequence[UploadBody], Sequence[UploadBody]]"]


def bodies(plan: UploadPlan, batch: Batch, *, first: bool) -> list[UploadBody]:
    """Return the requests of a batch, events before outcomes.

    Raises:
        InvalidError: the batch is the `first` of its file, and no value of a column has the declared type.
    """
    numbers = range(batch.first, batch.first + batch.rows)
    if isinstance(batch.content, list):
        return _of_lines(plan, [(n, line) for n, line in zip(numbers, batch.content, strict=True) if line])
    return _of_frame(plan, _named(plan, batch.content, numbers), numbers, first=first)


def times_of(plan: UploadPlan, batch: Batch) -> pl.Series:
    """The times of the rows of a batch, in UTC; null where a row has none that can be read."""
    column = next((name for name, to in plan.rename.items() if to == "ts"), "ts")
    if isinstance(batch.content, list):
        text = pl.Series("ts", [None if line is None else line.decode(errors="replace") for line in batch.content])
        raw = text.cast(pl.String).str.json_path_match(f"$[{json.dumps(column)}]")
    elif column in batch.content.columns:
        raw = batch.content[column]
    else:
        return pl.Series("ts", [], dtype=UTC_MICROSECONDS)
    try:
        return _times(raw, plan.ts_as)[0]
    except InvalidError:
        return pl.Series("ts", [], dtype=UTC_MICROSECONDS)


# --- columns ----------------------------------------------------------------------------------------------------------


def _named(plan: UploadPlan, frame: pl.DataFrame, numbers: range) -> pl.DataFrame:
    frame = frame.drop([name for name, to in plan.rename.items() if not to and name in frame.columns])
    frame = frame.rename({name: to for name, to in plan.rename.items() if to and name in frame.columns})
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in plan.constants.items())
    if plan.ids is not None:
        frame = frame.with_columns(pl.Series("event_id", [f"{plan.ids}-{n}" for n in numbers]))
    return frame.drop("ts", strict=False) if plan.outcomes_only else frame


def _of_frame(plan: UploadPlan, raw: pl.DataFrame, numbers: Sequence[int], *, first: bool) -> list[UploadBody]:
    typed, misfits = {}, {}
    for name in raw.columns:
        typed[name], misfits[name] = (
            _times(raw[name], plan.ts_as) if name == "ts" else _typed(raw[name], plan.kinds[name])
        )
        if first and misfits[name].any() and typed[name].null_count() == raw.height:
            raise _refused(raw[name], "ts" if name == "ts" else plan.kinds[name])
    bad = pl.select(pl.any_horizontal(misfits.values())).to_series()
    frame, rows = pl.DataFrame(typed), pl.Series(numbers, dtype=pl.Int64)
    done: list[UploadBody] = []
    outcomes = [name for name in frame.columns if name in plan.spec.outcome_columns]
    if not plan.outcomes_only:
        done += _columnar("events", frame.filter(~bad).drop(outcomes), rows.filter(~bad))
    if bad.any():
        done += _of_objects(plan, list(zip(rows.filter(bad), _objects(raw, frame, misfits, bad), strict=True)))
    if outcomes:
        known = ~bad & frame.select(pl.any_horizontal(pl.col(outcomes).is_not_null()).alias("known")).to_series()
        done += _columnar("outcomes", frame.filter(known).select("event_id", *outcomes), rows.filter(known))
    return sorted(done, key=lambda body: body.kind)


def _objects(
    raw: pl.DataFrame, typed: pl.DataFrame, misfits: Mapping[str, pl.Series], rows: pl.Series
) -> list[dict[str, Any]]:
    """Return rows as JSON objects: values that fit in their declared type, others as they are in the file."""
    columns: dict[str, list[Any]] = {}
    for name in raw.columns:
        read = typed[name].dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if name == "ts" else typed[name]
        given = raw[name]
        if raw.schema[name].is_temporal():
            given = given.cast(pl.String) if name == "ts" else _as_json(given, misfits[name])
        pairs = zip(misfits[name].filter(rows), given.filter(rows), read.filter(rows), strict=True)
        columns[name] = [json_value(original) if misfit else fit for misfit, original, fit in pairs]
    values = zip(*columns.values(), strict=True)
    return [{k: v for k, v in zip(columns, row, strict=True) if v is not None} for row in values]


def _as_json(times: pl.Series, misfits: pl.Series) -> pl.Series:
    """Times that lie beyond the calendar as JSON rows hold them; the others are not read here."""
    unit = times.dtype.time_unit if isinstance(times.dtype, pl.Datetime) else "days"
    counts = zip(times.to_physical(), misfits, strict=True)
    return pl.Series([far_time(count, unit) if misfit else None for count, misfit in counts], dtype=pl.List(pl.String))


def _columnar(kind: str, frame: pl.DataFrame, rows: pl.Series) -> list[UploadBody]:
    if not frame.height:
        return []
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="lz4")
    half = frame.height // 2
    return [UploadBody(
        kind, ARROW, rows.to_list(), out.getvalue(),
        lambda: (_columnar(kind, frame[:half], rows[:half]), _columnar(kind, frame[half:], rows[half:])),
    )]  # fmt: skip


def _typed(series: pl.Series, kind: ColumnType) -> tuple[pl.Series, pl.Series]:
    """Convert a column to its declared type, with a mask of the misfits."""
    found = typed_column(series, kind)
    if found is None:
        raise _refused(series, kind)
    return found.values, pl.Series([False]).new_from_index(0, len(series)) if found.misfits is None else found.misfits


def _times(series: pl.Series, reading: str) -> tuple[pl.Series, pl.Series]:
    if reading:
        times = read_times(series, reading)
    elif isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        times = series.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    elif series.dtype == pl.String:
        times = _written_times(series)
    else:
        raise _refused(series, "ts")
    return times.cast(UTC_MICROSECONDS), times.is_null() & series.is_not_null()


def _written_times(texts: pl.Series) -> pl.Series:
    """Times from their texts: RFC 3339 at once, and what else the service reads one by one."""
    times = texts.str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC", strict=False)
    hard = times.is_null() & texts.is_not_null()
    if not hard.any():
        return times
    found = [_iso_time(text) for text in texts.filter(hard)]
    return times.scatter(hard.arg_true(), pl.Series(found, dtype=UTC_MICROSECONDS))


def _iso_time(text: str) -> datetime | None:
    try:
        at = written_time(text)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _why_no_time(series: pl.Series, value: str) -> str:
    """What is wrong with the first text of a column of times in which no text is one."""
    if series.dtype != pl.String:
        return ""
    try:
        written_time(value)
    except ValueError:
        return ", which is not a time, so no row can be used"
    return ", which has no zone"


def _written(present: pl.Series) -> str:
    """The first value of a column, in words that a message quotes."""
    if present.dtype == pl.Date or isinstance(present.dtype, pl.Datetime):
        found = typed_column(present[:1], "text")
        return (found.values[0] if found is not None else None) or "a time beyond the calendar"
    return str(present[0])


def _refused(series: pl.Series, kind: ColumnType | Literal["ts"]) -> InvalidError:
    present = series.drop_nulls()
    value = " ".join(_written(present).split())[:60] if len(present) else "null"
    if kind == "ts":
        text = (
            f"column ts holds {series.dtype}, such as {value!r}{_why_no_time(series, value)}; write times with their "
            f"zone, such as {_EXAMPLE_TIME}, or say how to read them, such as --ts-as UTC or --ts-as epoch_ms"
        )
    else:
        text = (
            f"column {series.name!r} is declared as {kind} but holds {series.dtype}, such as {value!r}; a {kind} takes "
            f"{ACCEPTED[kind]}: convert the column, change its type in the spec, or leave it out with "
            f"--rename '{series.name}='"
        )
    return InvalidError(text, field=series.name, value=value)


# --- lines ------------------------------------------------------------------------------------------------------------


def _of_lines(plan: UploadPlan, lines: Sequence[tuple[int, bytes]]) -> list[UploadBody]:
    """Send lines unchanged, unless a key must be renamed or belongs to the outcomes."""
    lines = [(number, line) for number, line in lines if line.strip()]
    elsewhere = [json.dumps(name).encode() for name in plan.spec.outcome_columns]
    text = b"\n".join(line for _, line in lines)
    if not plan.changes_lines and not any(name in text for name in elsewhere):
        return _textual("events", lines)
    objects: list[tuple[int, Any]] = []
    for number, line in lines:
        row = read_object(line)
        objects.append((number, line if row is None else _named_object(plan, number, row)))
    return _of_objects(plan, objects)


def _named_object(plan: UploadPlan, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    new = {plan.rename.get(name, name): value for name, value in row.items() if plan.rename.get(name, name)}
    new = {**plan.constants, **new}
    if plan.ids is not None:
        new["event_id"] = f"{plan.ids}-{number}"
    if plan.outcomes_only:
        new.pop("ts", None)
    elif plan.ts_as and "ts" in new:
        new["ts"] = read_time(new["ts"], plan.ts_as)
    return new


def _of_objects(plan: UploadPlan, rows: Sequence[tuple[int, Any]]) -> list[UploadBody]:
    """Return rows as JSON, divided into events and outcomes; a line that is not an object is sent unchanged."""
    names, kinds = set(plan.spec.outcome_columns), plan.kinds
    if plan.outcomes_only:
        return _textual("outcomes", [(n, _line(row)) for n, row in rows])
    events, outcomes = [], []
    for number, row in rows:
        if not isinstance(row, dict) or not names & row.keys():
            events.append((number, _line(row)))
            continue
        events.append((number, _line({k: v for k, v in row.items() if k not in names})))
        truth = {k: v for k, v in row.items() if k in names and not is_missing(v, kinds[k])}
        if truth:
            outcomes.append((number, _line({"event_id": row.get("event_id"), **truth})))
    return _textual("events", events) + _textual("outcomes", outcomes)


def _line(row: Any) -> bytes:
    return row if isinstance(row, bytes) else json_line(row).encode()


def _textual(kind: str, lines: Sequence[tuple[int, bytes]]) -> list[UploadBody]:
    if not lines:
        return []
    half = len(lines) // 2
    return [UploadBody(
        kind, NDJSON, [n for n, _ in lines], b"\n".join(line for _, line in lines),
        lambda: (_textual(kind, lines[:half]), _textual(kind, lines[half:])),
    )]  # fmt: skip

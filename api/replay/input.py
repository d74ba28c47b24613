"""Read the files of a replay: check them against the spec column by column, and sort them by time.

A column that cannot have its declared type refuses the whole file. In a text file (CSV), a single value that does not
fit rejects only its row, as production would.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from api.replay.naming import AS_THEY_ARE, FileColumns
from core.errors import InvalidError
from monitor.ingest import vectors
from monitor.ingest.row_schema import DTYPES
from monitor.ingest.times import read_times
from monitor.spec.columns import BUILT_IN, Column
from monitor.spec.model import ModelSpec


def _csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)  # all text: the spec decides the types, not the first hundred rows


def _ndjson(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path, infer_schema_length=None)


def _folder(path: Path) -> pl.DataFrame:
    """A Delta table, or a folder of Parquet files."""
    return pl.read_delta(str(path)) if (path / "_delta_log").is_dir() else pl.read_parquet(path / "**/*.parquet")


READERS: Final[Mapping[str, Callable[[Path], pl.DataFrame]]] = {
    ".parquet": pl.read_parquet, ".csv": _csv, ".ndjson": _ndjson, ".jsonl": _ndjson, ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
}  # fmt: skip
LINE_COLUMN: Final = (
    "_line"  # position of a row in its file: the line of a text file, the row of a Parquet file, from 1
)
EXAMPLE_TIME: Final = "2026-03-01T12:00:00Z"
ZONE_PATTERN: Final = r"(?i)(z|[+-]\d\d(:?\d\d)?)\s*$"
_OPTIONS: Final = {
    "ts": "; name the column that holds the time with --ts COLUMN",
    "version": "; name the column with --rename 'COLUMN=version', or give --model-version V",
}
EVENT_FIELDS: Final = ("event_id", "ts", "version", "trace_id", "span_id")


@dataclass(frozen=True)
class ReplayInput:
    """Rows in order of `ts`, each with its `LINE_COLUMN`; the rejected rows; and notes for the user."""

    name: str
    frame: pl.DataFrame
    rejected: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_events(path: Path, spec: ModelSpec, columns: FileColumns = AS_THEY_ARE) -> ReplayInput:
    """Read events, with outcome columns if the file has them.

    Raises:
        InvalidError: the file cannot be read, lacks event_id, ts or version, or has an undeclared or misfit column.
    """
    given = _read(path, spec, ("event_id", "ts", "version"), EVENT_FIELDS, spec.columns, columns)
    absent = [name for name in spec.event_columns if name not in given.frame.columns]
    if absent:
        given.notes.append(f"{path.name} has no column {', '.join(absent)}; events are read without it")
    return given


def read_outcomes(path: Path, spec: ModelSpec) -> ReplayInput:
    """Read outcomes: `event_id`, `ts` (time of arrival) and outcome columns; raises as `read_events` does."""
    given = _read(path, spec, ("event_id", "ts"), ("event_id", "ts"), spec.outcome_columns)
    if not set(given.frame.columns) & set(spec.outcome_columns):
        wanted = ", ".join(spec.outcome_columns) or "the spec declares none"
        raise InvalidError(f"{path.name} has no outcome column; it needs one of: {wanted}", field="columns")
    return given


def _read(
    path: Path, spec: ModelSpec, needed: Sequence[str], own: Sequence[str], declared: Mapping[str, Column],
    columns: FileColumns | None = None,
) -> ReplayInput:  # fmt: skip
    reader = _folder if path.is_dir() else READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidError(
            f"file {path.name}: unknown kind of file {path.suffix!r}; give .parquet, .csv, .ndjson, .jsonl, "
            ".arrow or .feather, or a folder of Parquet files",
            field="file", value=path.suffix,
        )  # fmt: skip
    try:
        frame = reader(path)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidError(f"file {path.name} cannot be read as {path.suffix}: {reason}", field="file") from error
    if frame.is_empty():
        raise InvalidError(f"file {path.name} has no rows", field="file", value=str(path))
    if columns is not None:
        frame = columns.named(frame, path.name)
    for name in needed:
        if name not in frame.columns:
            raise InvalidError(
                f"{path.name} has no column {name!r}; every row needs {', '.join(needed)}{_OPTIONS.get(name, '')}",
                field=name,
            )
    _refuse_unknown(path, frame, spec, own, declared)
    text = path.suffix.lower() == ".csv"
    given = ReplayInput(
        path.name,
        frame.with_row_index(LINE_COLUMN, offset=2 if text else 1).with_columns(pl.col(LINE_COLUMN).cast(pl.Int64)),
    )
    ids = [_as_string(given, name) for name in own if name != "ts" and name in frame.columns]
    typed_columns = [_typed(given, name, c, text=text) for name, c in declared.items() if name in frame.columns]
    typed = given.frame.with_columns(*ids, *typed_columns, _times(given, columns.ts_as if columns is not None else ""))
    refused = {row["line"] for row in given.rejected}
    kept = typed.filter(~pl.col(LINE_COLUMN).is_in(list(refused))) if refused else typed
    if kept.is_empty():
        first = given.rejected[0]
        raise InvalidError(
            f"{path.name}: no row can be used; the first: {first['field']}: {first['reason']}", field=first["field"]
        )
    return ReplayInput(path.name, kept.sort("ts", maintain_order=True), given.rejected, given.notes)


def _refuse_unknown(
    path: Path, frame: pl.DataFrame, spec: ModelSpec, own: Sequence[str], declared: Mapping[str, Column]
) -> None:
    for name in frame.columns:
        if name in own or name in declared:
            continue
        if name in spec.columns:
            raise InvalidError(
                f"{path.name}: column {name!r} is part of the event, not of its outcome; leave it out here", field=name
            )
        reason = "is reserved by Assay" if name in BUILT_IN else "is not declared in the spec"
        known = ", ".join([*own, *declared])
        raise InvalidError(
            f"{path.name}: column {name!r} {reason}; declare it or leave it out (declared: {known})",
            field=name,
            value=name,
        )


# --- columns ----------------------------------------------------------------------------------------------------------


def _as_string(given: ReplayInput, name: str) -> pl.Series:
    series = given.frame[name]
    if series.dtype.is_nested() or series.dtype.is_temporal():
        raise _wrong(given, name, "a string")
    return series.cast(pl.String)


def _typed(given: ReplayInput, name: str, column: Column, *, text: bool) -> pl.Series:
    """Convert a column to its declared type; numeric codes may be categories, 0 and 1 may be booleans."""
    series = given.frame[name]
    if column.type in ("category", "string", "text"):
        return _as_string(given, name)
    if column.type == "boolean":
        return _booleans(given, series, text=text)
    if column.type == "vector":
        return _vectors(given, series, column.dimensions or 0, text=text)
    if text:
        series = _parsed(given, series, series.str.strip_chars().cast(pl.Float64, strict=False), "not a number")
    elif not (series.dtype.is_numeric() or series.dtype == pl.Null):
        raise _wrong(given, name, "number")
    # In files NaN means "no value", where JSON leaves the column out. Infinity is an error in both.
    series = series.cast(pl.Float64).fill_nan(None)
    bad = series.is_infinite().fill_null(value=False)
    _reject(given, name, bad, lambda v: f"{v} is not a finite number; leave the value out if there is none")
    return series


def _vectors(given: ReplayInput, series: pl.Series, size: int, *, text: bool) -> pl.Series:
    """Read lists of numbers, which a text file holds as JSON; a misfit rejects its row."""
    if text:
        series = _parsed(given, series, vectors.parsed(series), "not a JSON list of numbers")
    elif not isinstance(series.dtype, pl.List | pl.Array | pl.Null):
        raise _wrong(given, series.name, "vector")
    lists = series.cast(DTYPES["vector"], strict=False)
    bad = lists.is_null() & series.is_not_null() | ~vectors.good(lists, size)

    def reason(value: Any) -> str:
        return vectors.misfit(json.loads(value) if text else list(value), size) or "is not a vector"

    _reject(given, series.name, bad, reason)
    return lists


def _booleans(given: ReplayInput, series: pl.Series, *, text: bool) -> pl.Series:
    if series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Boolean)
    if text:
        words = series.str.strip_chars().str.to_lowercase()
        truth = words.replace_strict({"true": True, "1": True, "false": False, "0": False}, default=None)
        return _parsed(given, series, truth.cast(pl.Boolean), "not true or false")
    if series.dtype.is_integer() and series.is_in([0, 1]).fill_null(value=True).all():
        return series.cast(pl.Boolean)
    raise _wrong(given, series.name, "boolean")


def _parsed(given: ReplayInput, raw: pl.Series, parsed: pl.Series, wrong: str) -> pl.Series:
    """Check parsed values of a text file: a misfit rejects its row; a column of misfits only refuses the file."""
    bad = parsed.is_null() & raw.is_not_null()
    if bad.any() and parsed.is_null().all():
        raise _wrong(given, raw.name, wrong.removeprefix("not "))
    _reject(given, raw.name, bad, lambda v: f"{v!r} is {wrong}")
    return parsed


def _reject(given: ReplayInput, name: str, bad: pl.Series, reason: Callable[[Any], str]) -> None:
    for line, value in given.frame.filter(bad).select(LINE_COLUMN, name).iter_rows():
        given.rejected.append({"file": given.name, "line": line, "field": name, "reason": reason(value)})


def _wrong(given: ReplayInput, name: str, wanted: str) -> InvalidError:
    series = given.frame[name]
    present = series.drop_nulls()
    value = " ".join(repr(present.head(1).to_list()[0]).split())[:60] if len(present) else "null"
    return InvalidError(
        f"{given.name}: column {name!r} is declared as {wanted} but holds {series.dtype}, such as {value}; "
        "convert the column or change its type in the spec",
        field=name, value=value,
    )  # fmt: skip


# --- time -------------------------------------------------------------------------------------------------------------


def _times(given: ReplayInput, reading: str) -> pl.Series:
    raw = given.frame["ts"]
    if reading:
        times = read_times(raw, reading)
        _reject(given, "ts", times.is_null() & raw.is_not_null(), lambda v: f"{str(v)[:60]!r} is no time as {reading}")
    elif raw.dtype == pl.String:
        times = _parsed_times(given, raw)
    elif isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None:
        times = raw.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    else:
        value = str(raw[0])[:40]
        raise InvalidError(
            f"{given.name}: ts is {raw.dtype}, such as {value!r}; store times with their zone, such as {EXAMPLE_TIME}, "
            "or say how to read them, such as --ts-as UTC or --ts-as epoch_ms",
            field="ts", value=value,
        )  # fmt: skip
    _reject(
        given, "ts", raw.is_null(), lambda _: f"missing; every row needs its time with a zone, such as {EXAMPLE_TIME}"
    )
    return times


def _parsed_times(given: ReplayInput, raw: pl.Series) -> pl.Series:
    zoneless = raw.filter(~raw.str.contains(ZONE_PATTERN))
    if len(zoneless):
        raise InvalidError(
            f"{given.name}: ts {zoneless[0]!r} has no zone; add Z or an offset such as +01:00, or say it: --ts-as UTC",
            field="ts", value=zoneless[0],
        )  # fmt: skip
    times = raw.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    hard = (times.is_null() & raw.is_not_null()).arg_true().to_list()
    if hard:  # ISO 8601 forms that Python reads beyond RFC 3339
        values = times.to_list()
        for position in hard:
            values[position] = _time(raw[position])
        times = pl.Series("ts", values, dtype=pl.Datetime("us", "UTC"))
    _reject(
        given, "ts", times.is_null() & raw.is_not_null(),
        lambda v: f"{v[:60]!r} is not a time; write it with its zone, such as {EXAMPLE_TIME}",
    )  # fmt: skip
    return times


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.strip())
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None

"""Map spans to the events and outcomes of one model."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import NoneType
from typing import Any, Final

import polars as pl

from core.text import whole_characters
from monitor.ingest import vectors
from monitor.ingest.json_columns import merged
from monitor.ingest.ndjson import Rejection, Rows
from monitor.ingest.otlp.evaluations import SpanEvaluation, typed
from monitor.ingest.otlp.fields import FIELDS, Getter, getter, is_failed, number_of
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.spans import Span, as_text
from monitor.ingest.row_schema import UTC_MICROSECONDS, Target, events_of, outcomes_of
from monitor.ingest.row_values import NAMES, MisfitError, is_missing, row_value
from monitor.ingest.typed_columns import DTYPES
from monitor.ingest.validate import MAX_VERSION_CHARS, CheckedRows
from monitor.levels import bool_level, level, number_level
from monitor.spec.columns import Column, ColumnType
from monitor.spec.model import ModelSpec
from monitor.spec.traces import Sources, Traces

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION_SOURCES: Final = ("model", "service_version")
UNNAMED_VERSION: Final = "unknown"  # of a failed call, where the mapping has no `fallback_version`
# The field for a column that has neither a mapping nor a field of its name, by the column's role.
_ROLE_FIELDS: Final = {"input": "input", "prediction": "output", "agent": "agent", "subject": "user"}
_PYTHON_TYPES: Final[dict[ColumnType, tuple[str, frozenset[type]]]] = {
    "number": ("a number", frozenset({int, float, NoneType})),
    "boolean": ("true or false", frozenset({bool, NoneType})),
    "category": ("a string", frozenset({str, NoneType})),
    "string": ("a string", frozenset({str, NoneType})),
    "text": ("a string", frozenset({str, NoneType})),
    "vector": ("a list of numbers", frozenset({list, NoneType})),
}
_IDS: Final = ("event_id", "trace_id", "span_id")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16  # the invalid ids of 16 and 8 zero bytes
_TYPE_NAMES: Final = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string", list: "a list"}


@dataclass(frozen=True)
class SpanMapping:
    """How the spans of a service become events and outcomes of one model, prepared once per spec revision."""

    traces: Traces
    events: Target
    outcomes: Target | None
    columns: dict[str, Getter]  # event columns without id and time
    evaluated: dict[str, tuple[str, ...]]  # outcome columns: evaluations or attributes of the span
    asked: str | None = None  # the columns that hold the question, the answer and the latency
    answered: str | None = None
    latency: str | None = None

    def filled(self, span: Span) -> int:
        """Which of the event's columns the span has a value for: bit i for column i."""
        return sum(1 << i for i, get in enumerate(self._getters) if get(span) is not None)

    @cached_property
    def _getters(self) -> tuple[Getter, ...]:
        return tuple(self.columns[name] for name in self.events.spec.event_columns)

    @cached_property
    def plain(self) -> int:
        """The bits of `filled` that are of no vector: of rows in the store these are known."""
        return sum(1 << i for i, c in enumerate(self.events.spec.event_columns.values()) if c.type != "vector")

    def selects(self, span: Span) -> bool:
        if kind_of(span) not in self.traces.spans:
            return False
        if not (where := self.traces.where):
            return True
        has, resource = span.attributes, span.resource
        return all(_same(has.get(name, resource.get(name)), value) for name, value in where.items())


def mapping_of(spec: ModelSpec, traces: Traces) -> SpanMapping:
    columns = {"version": _version(getter(_listed(traces.version) or _VERSION_SOURCES), traces.fallback_version)}
    columns |= {"trace_id": lambda span: span.trace_id, "span_id": lambda span: span.span_id}
    of: dict[str, str] = {}  # field -> the first column that takes it
    for name, column in spec.event_columns.items():
        sources = _listed(traces.columns.get(name)) or default_sources(spec, name, column)
        columns[name] = getter(sources)
        of |= {source: name for source in sources if source not in of and column.type in ("text", "number")}
    evaluated = {name: _listed(traces.columns.get(name)) or (name,) for name in spec.outcome_columns}
    outcomes = outcomes_of(spec) if evaluated else None
    texts = of.get("input"), of.get("output"), of.get("latency_ms")
    return SpanMapping(traces, events_of(spec), outcomes, columns, evaluated, *texts)


def _version(get: Getter, fallback: str | None) -> Getter:
    """Return a getter that always finds a version for a call that failed: it must count in the rate of errors."""

    def version(span: Span) -> Any:
        if (found := get(span)) is not None:
            return found
        return fallback or (UNNAMED_VERSION if is_failed(span) else None)

    return version


def default_sources(spec: ModelSpec, name: str, column: Column) -> tuple[str, ...]:
    """Return the sources of a column that the spec does not map: a field or attribute of its name, then by its role."""
    if name in FIELDS:
        return (name,)
    if column.type == "vector":
        return (name, "embedding")
    written = column.type in ("text", "category", "string")
    first = spec.with_role(column.role)[0] == name
    by_role = _ROLE_FIELDS.get(column.role)
    return (name, by_role) if by_role and written and first else (name,)


def events_from(
    mapping: SpanMapping, spans: Sequence[Span], now: datetime, others: Mapping[str, Sequence[Span]] | None = None
) -> CheckedRows:
    """Map spans to events. The line of a rejection is the number of its span; reasons name types, never values.

    Args:
        mapping: says where each column finds its value.
        spans: the spans.
        now: the current time.
        others: further spans of an event, by its id, which have what its span lacks.
    """
    batch = _Batch(spans)
    columns = {"event_id": pl.Series("event_id", [span.event_id for span in spans], dtype=pl.String)}
    for name, kind in mapping.events.columns.items():
        if name != "event_id":
            get = mapping.columns[name]
            values = [get(span) for span in spans]
            if others:
                values = [
                    next((v for s in others.get(span.event_id, ()) if (v := get(s)) is not None), None)
                    if value is None
                    else value
                    for span, value in zip(spans, values, strict=True)
                ]
            columns[name] = batch.series(name, kind, values, mapping.events.dimensions.get(name, 0))
            if name == "version":
                batch.plain &= all(found and len(found) <= MAX_VERSION_CHARS for found in set(values))
    batch.refuse_ids()
    # The time of the event is when the model has answered.
    times = [(span.end or span.start) // 1000 for span in spans]
    columns["ts"] = pl.Series("ts", [time or None for time in times], dtype=pl.Int64).cast(UTC_MICROSECONDS)
    frame, accepted = pl.DataFrame(columns), mapping.events.span(now)
    if batch.is_plain and times and all(times) and accepted.holds(min(times)) and accepted.holds(max(times)):
        return CheckedRows(frame, [span.number for span in spans], [])  # nearly always
    return batch.checked(mapping.events, frame, now)


def described_from(mapping: SpanMapping, spans: Sequence[Span], now: datetime) -> CheckedRows:
    """Map what log records say of spans to columns of their events.

    Args:
        spans: as `described_spans` makes them.

    Returns:
        `event_id` and the columns that are not the same for every span; null where the records say nothing. The line of
        a row or rejection is the number of its span.
    """
    bare = [replace(span, attributes={}, events=[]) for span in spans]
    batch, found = _Batch(spans), list[str]()
    columns = {"event_id": pl.Series("event_id", [span.event_id for span in spans], dtype=pl.String)}
    for name, kind in mapping.events.columns.items():
        get = mapping.columns.get(name)
        values: list[Any] = [None] * len(spans)
        if get is not None and name not in (*_IDS, "version") and name not in mapping.events.spec.with_role("subject"):
            values = [None if (said := get(s)) == get(b) else said for s, b in zip(spans, bare, strict=True)]
            found.append(name)
        if name != "event_id":
            columns[name] = batch.series(name, kind, values, mapping.events.dimensions.get(name, 0))
    columns["version"] = pl.Series("version", ["-"], dtype=pl.String).new_from_index(0, len(spans))  # never stored
    columns["ts"] = pl.Series("ts", [now], dtype=UTC_MICROSECONDS).new_from_index(0, len(spans))
    checked = batch.checked(mapping.events, pl.DataFrame(columns), now)
    return CheckedRows(checked.frame.select("event_id", *found), checked.lines, checked.rejected)


def outcomes_from(
    mapping: SpanMapping, found: Sequence[tuple[str, Span, dict[str, SpanEvaluation]]], now: datetime
) -> CheckedRows | None:
    """Map evaluations to outcomes, one row per span, so that a span sent again in another request is the same row.

    Args:
        found: the event id, the span that refers to it and the evaluations in that span.

    Returns:
        The checked rows, or None if no evaluation belongs to an outcome column.
    """
    if mapping.outcomes is None:
        return None
    ids: list[str] = []
    rows: list[dict[str, Any]] = []
    spans: list[Span] = []
    refused: list[Rejection] = []
    for event_id, span, evaluations in found:
        try:
            values = dict(_values(mapping, span, evaluations))
        except _EvaluationError as error:
            refused.append(Rejection(span.number, error.column, error.reason, {"event_id": event_id}))
            continue
        if values:
            ids.append(event_id)
            rows.append(values)
            spans.append(span)
    if not rows:
        return CheckedRows(pl.DataFrame(schema=mapping.outcomes.schema), [], refused) if refused else None
    batch = _Batch(spans)
    columns = {"event_id": pl.Series("event_id", ids, dtype=pl.String)}
    for name, kind in mapping.outcomes.columns.items():
        if name != "event_id":
            columns[name] = batch.series(name, kind, [row.get(name) for row in rows])
    checked = batch.checked(mapping.outcomes, pl.DataFrame(columns), now)
    return CheckedRows(checked.frame, checked.lines, sorted([*checked.rejected, *refused], key=lambda r: r.line))


class _EvaluationError(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.reason = column, reason


def _values(mapping: SpanMapping, span: Span, evaluations: dict[str, SpanEvaluation]) -> Iterable[tuple[str, Any]]:
    assert mapping.outcomes is not None
    for column, sources in mapping.evaluated.items():
        for source in sources:
            if source in evaluations:
                try:
                    yield column, typed(evaluations[source], mapping.outcomes.columns[column])
                except ValueError as error:
                    raise _EvaluationError(column, f"evaluation {source[:100]!r} {error}") from error
                break
            if (value := span.attributes.get(source)) is not None:
                yield column, value
                break


class _Batch:
    """Spans that are being turned into columns; the first reason for refusing a span is kept."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.refused: dict[int, tuple[str, str]] = {}
        self.misfits: dict[int, dict[str, Any]] = {}  # values as sent, for quarantine
        self.plain = True  # whether all values in columns surely pass the rules of `Target.good`; False may be wrong

    @property
    def is_plain(self) -> bool:
        """Whether all spans surely pass the rules for all but times."""
        return self.plain and not self.refused

    def series(self, name: str, kind: ColumnType, values: list[Any], size: int = 0) -> pl.Series:
        """Build a column of its declared type; a value that does not fit becomes null and its span is refused.

        Args:
            size: dimensions of a vector column.
        """
        wanted, types = _PYTHON_TYPES[kind]
        if not types.issuperset(map(type, values)):
            for i, value in enumerate(values):
                if type(value) not in types:
                    values[i] = _converted(value, kind)
                    if values[i] is None and not is_missing(value, kind):
                        self.misfits.setdefault(i, {})[name] = value
                        sent = _TYPE_NAMES.get(type(value), "a map")
                        self.refused.setdefault(i, (name, f"is {sent}; the column is declared as {kind}: {wanted}"))
        if kind == "number":
            values = [None if value is None or math.isnan(value) else float(value) for value in values]
            self.plain &= math.inf not in values and -math.inf not in values
        if kind == "category":
            values = _levels(values)
        if kind in NAMES:
            self.plain &= "".join(filter(None, set(values))).isprintable()
        if kind == "vector":
            self.plain = False
            return self._vectors(name, values, size)
        try:
            return pl.Series(name, values, dtype=DTYPES[kind])
        except UnicodeEncodeError:  # a text within JSON within an attribute
            return pl.Series(name, [_in_whole_characters(value) for value in values], dtype=DTYPES[kind])

    def _vectors(self, name: str, values: list[Any], size: int) -> pl.Series:
        for i, value in enumerate(values):
            if reason := vectors.misfit(value, size):
                self.misfits.setdefault(i, {})[name] = value
                self.refused.setdefault(i, (name, reason))
                values[i] = None
        floats = [None if value is None else [float(number) for number in value] for value in values]
        return pl.Series(name, floats, dtype=DTYPES["vector"])

    def refuse_ids(self) -> None:
        for i, span in enumerate(self.spans):
            if (
                len(span.trace_id) == len(_NO_TRACE) and len(span.span_id) == len(_NO_SPAN)
                and span.trace_id != _NO_TRACE and span.span_id != _NO_SPAN
            ):  # fmt: skip
                continue
            for name, digits, size in (("trace_id", span.trace_id, 16), ("span_id", span.span_id, 8)):
                if len(digits) != 2 * size or not digits.strip("0"):
                    reason = f"has {len(digits) // 2} bytes; it needs {size} bytes that are not all zero"
                    self.refused.setdefault(i, (name, reason))

    def checked(self, target: Target, frame: pl.DataFrame, now: datetime) -> CheckedRows:
        frame, good = target.good(frame, now)
        if good.all() and not self.refused:
            return CheckedRows(frame, [span.number for span in self.spans], [])
        keep = good.to_list()
        for i in self.refused:
            keep[i] = False
        bad = [i for i, kept in enumerate(keep) if not kept]
        rows = frame[bad].to_dicts()
        for row, i in zip(rows, bad, strict=True):
            row.update(self.misfits.get(i, {}))
            if target.timed:
                row["ts"] = _iso_time(self.spans[i])
        raw = dict(zip(bad, rows, strict=True))
        rejected = [Rejection(self.spans[i].number, *why, raw[i]) for i, why in self.refused.items()]
        others = [i for i in bad if i not in self.refused]
        kept = [span.number for span, flag in zip(self.spans, keep, strict=True) if flag]
        taken = CheckedRows(frame.filter(pl.Series(keep, dtype=pl.Boolean)), kept, rejected)
        lines = [self.spans[i].number for i in others]
        examined = target.examine(Rows([raw[i] for i in others], lines, [], "ns"), now)
        found = merged(taken, examined)
        return CheckedRows(found.frame, found.lines, sorted([*rejected, *examined.rejected], key=lambda r: r.line))


def _converted(value: Any, kind: ColumnType) -> Any:
    """Return a value as its column declares it, where the sender wrote it as another type; None if it does not fit."""
    match value:
        case str() if kind == "number":
            return number_of(value)
        case str() if kind == "boolean":
            return {"true": True, "false": False}.get(value.strip().lower())
        case list() | dict() if kind == "text":
            return as_text(value)
        case bool() | int() | float():
            with suppress(MisfitError):
                return row_value(value, kind)
    return None


def _in_whole_characters(value: Any) -> Any:
    """The value with U+FFFD for each half of a character in its texts."""
    match value:
        case str():
            return whole_characters(value)
        case list():
            return [_in_whole_characters(part) for part in value]
    return value


def _levels(values: list[str | None]) -> list[str | None]:
    """The level of each text; a request has few different ones."""
    changed = {v: found for v in set(values) if v is not None and (found := level(v)) != v}
    return [v if v is None else changed.get(v, v) for v in values] if changed else values


def _iso_time(span: Span) -> str | None:
    at = (span.end or span.start) // 1000
    return (_EPOCH + timedelta(microseconds=at)).isoformat() if at else None


def _listed(sources: Sources | None) -> tuple[str, ...]:
    return () if sources is None else (sources,) if isinstance(sources, str) else tuple(sources)


def _same(value: Any, wanted: str) -> bool:
    """Compare a value with its text in a spec, where every value is text, as categories are compared."""
    match value:
        case None:
            return False
        case bool():
            written: str | None = bool_level(value)
        case float() if math.isfinite(value):
            written = number_level(value)
        case str():
            written = level(value) if value != wanted else wanted
        case _:
            written = str(value)
    return written == wanted or (written is not None and written == level(wanted))

"""The calls that a model had of late, so that a later span of one of them is known.

They are kept in memory, up to a number of calls, and after a start they are read from the store once. The store knows
less of a span than was sent: its trace, its end and its texts.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import numpy as np
import polars as pl

from core.cache import CacheKind
from monitor.ingest.otlp.call_marks import mark_of, models_of, response_id, tokens_of
from monitor.ingest.otlp.calls import CALL_KINDS, Call, CallSpan, scope_of
from monitor.ingest.otlp.conversation import said
from monitor.ingest.otlp.mapping import UNNAMED_VERSION, SpanMapping
from monitor.ingest.otlp.spans import Span
from monitor.site import Site
from monitor.spec.traces import SpanKind

MAX_CALLS: Final = 10_000  # of one model
MIN_CALLS: Final = 400  # of one of many models
_MAX_IN_ALL: Final = 200_000  # of all models of a process, which share them evenly
_MAX_MODELS: Final = _MAX_IN_ALL // MIN_CALLS
_MAX_BITS: Final = 62  # of a 64-bit integer
_values: Final = attrgetter(*(f.name for f in fields(CallSpan)))
_Packed = tuple[tuple[Any, ...], ...]


class RecentCalls:
    """The calls of one model by trace; the traces that were heard of longest ago leave first.

    They are kept as tuples of plain values, which Python's garbage collector does not go through.
    """

    def __init__(self, calls: Iterable[tuple[str, Call]]) -> None:
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, _Packed] = OrderedDict()
        self._open: dict[str, list[Call]] = {}  # of the request that holds the lock
        self._count = 0
        self.most = MAX_CALLS
        for trace, call in calls:
            self.add(trace, call)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the calls while spans are compared with them and stored: two requests never store one call twice."""
        with self._lock:
            try:
                yield
            finally:
                for trace, calls in self._open.items():
                    self._put(trace, tuple(_packed(call) for call in calls))
                self._open = {}

    def of(self, trace: str) -> Sequence[Call]:
        """The calls of a trace; what is changed of them until the calls are closed is kept."""
        if trace in self._open or trace not in self._traces:
            return self._open.get(trace, ())
        self._open[trace] = [_unpacked(call) for call in self._traces[trace]]
        return self._open[trace]

    def add(self, trace: str, call: Call) -> None:
        if trace in self._open:
            self._open[trace].append(call)
        else:
            self._put(trace, (*self._traces.get(trace, ()), _packed(call)))

    def add_alone(self, spans: Iterable[tuple[Span, tuple[str, ...]]], filled: Mapping[str, int]) -> None:
        """Add the calls of one span each, as most are, that became events; the same as `add` of their calls.

        Args:
            spans: of traces without a known call, each with the ids of the spans around it.
            filled: the columns that each event has a value for, by its id.
        """
        found: dict[str, list[tuple[Any, ...]]] = {}
        for span, above in spans:
            if (has := filled.get(event_id := span.event_id)) is not None:
                asked, answered = said(span)
                values = (
                    event_id, span.span_id, span.parent_id, span.kind, span.start, span.end, scope_of(span),
                    mark_of(asked), mark_of(answered), response_id(span), models_of(span), tokens_of(span), above, None,
                )  # fmt: skip
                found.setdefault(span.trace_id, []).append((event_id, has, (values,)))
        for trace, calls in found.items():
            self._put(trace, (*self._traces.get(trace, ()), *calls))

    def _put(self, trace: str, calls: _Packed) -> None:
        self._count += len(calls) - len(self._traces.pop(trace, ()))
        self._traces[trace] = calls  # the newest is last
        while self._count > self.most and len(self._traces) > 1:
            self._count -= len(self._traces.popitem(last=False)[1])


def _packed(call: Call) -> tuple[Any, ...]:
    return call.event_id, call.filled, tuple(map(_values, call.spans))


def _unpacked(call: tuple[Any, ...]) -> Call:
    event_id, filled, spans = call
    return Call(event_id, [CallSpan(*values) for values in spans], filled)


CALLS: Final = CacheKind[str, RecentCalls]("recent calls by model", most=_MAX_MODELS)
_guard: Final = threading.Lock()


def recent_calls(site: Site, mapping: SpanMapping) -> RecentCalls:
    with _guard:  # threads that ask at the same moment share one object
        most = min(MAX_CALLS, _MAX_IN_ALL // max(1, site.cache.count(CALLS)))
        calls = site.cache.get(
            CALLS, mapping.events.spec.model, lambda: RecentCalls(_stored_calls(site, mapping, most))
        )
        calls.most = most
        return calls


def _stored_calls(site: Site, mapping: SpanMapping, most: int) -> Iterable[tuple[str, Call]]:
    model = mapping.events.spec.model
    extent = site.events.extent(model)
    if not extent.rows:
        return
    spec, named_by = mapping.events.spec, mapping.traces.version
    asked, answered, latency = mapping.asked, mapping.answered, mapping.latency
    plain = [name for name, column in spec.event_columns.items() if column.type != "vector"]
    names = dict.fromkeys(["event_id", "trace_id", "span_id", "ts", "version", *plain])
    rows = site.events.events(model, from_seq=max(0, extent.next_seq - most), columns=list(names))
    rows = rows.filter(pl.col("trace_id").is_not_null() & pl.col("span_id").is_not_null())
    # A row does not say of which kind its span was: where a row may be an agent's, no span is compared with it.
    kind: SpanKind | None = None if CALL_KINDS.issuperset(mapping.traces.spans) else "other"
    others: dict[str, list[str]] = {}
    for own, of in site.events.standing_for(model).items():
        others.setdefault(of, []).append(own)
    ends = rows.with_columns(end=pl.col("ts").dt.epoch("ns"))
    for row, filled in zip(ends.iter_rows(named=True), filled_of(rows, mapping), strict=True):
        question, answer = (None if name is None else mark_of(row[name]) for name in (asked, answered))
        event_id, took = row["event_id"], row[latency] if latency is not None else None
        start = 0 if took is None else row["end"] - int(took * 1e6)
        models = (row["version"],) if named_by is None and row["version"] != UNNAMED_VERSION else ()
        span = CallSpan(
            event_id, row["span_id"], "", kind, start, row["end"], ("", ""), question, answer, None, models,
            filled=filled,
        )  # fmt: skip
        yield row["trace_id"], Call(event_id, [span, *(_named(own, span.end) for own in others.get(event_id, ()))])


def _named(event_id: str, end: int) -> CallSpan:
    """A span of which only the id is known."""
    return CallSpan(event_id, event_id.rpartition("-")[2], "", None, 0, end, ("", ""), None, None, None)


def filled_of(rows: pl.DataFrame, mapping: SpanMapping) -> list[int]:
    """Which of the event's columns each row has a value for, as `SpanMapping.filled`."""
    if len(mapping.events.spec.event_columns) > _MAX_BITS:
        columns = [rows[name].is_not_null() for name in mapping.events.spec.event_columns if name in rows.columns]
        return [sum(has << i for i, has in enumerate(row)) for row in zip(*columns, strict=True)]
    bits, nulls = np.zeros(rows.height, dtype=np.int64), dict(zip(rows.columns, rows.null_count().row(0), strict=True))
    for i, name in enumerate(mapping.events.spec.event_columns):
        if (missing := nulls.get(name, rows.height)) == 0:
            bits |= 1 << i
        elif missing < rows.height:
            bits |= np.array([value is not None for value in rows.get_column(name).to_list()]).astype(np.int64) << i
    found: list[int] = bits.tolist()
    return found

"""The calls that a model had of late, so that a later span of one of them is known.

They are kept in memory, up to a number of calls, and after a start they are read from the store once. The store knows
less of a span than was sent: its trace, its end and its texts.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from core.cache import CacheKind
from monitor.ingest.otlp.calls import Call, CallSpan
from monitor.ingest.otlp.mapping import SpanMapping
from monitor.site import Site

MAXCALLS: Final = 20_000  # of one model
_MAX_MODELS: Final = 50


class RecentCalls:
    """The calls of one model by trace; the traces that were heard of longest ago leave first.

    `lock` is held while spans are compared with the calls and stored: two requests never store one call twice.
    """

    def __init__(self, calls: Iterable[tuple[str, Call]]) -> None:
        self.lock = threading.Lock()
        self._traces: OrderedDict[str, list[Call]] = OrderedDict()
        self._count = 0
        for trace, call in calls:
            self.add(trace, call)

    def of(self, trace: str) -> Sequence[Call]:
        return self._traces.get(trace, ())

    def add(self, trace: str, call: Call) -> None:
        self._traces.setdefault(trace, []).append(call)
        self._traces.move_to_end(trace)
        self._count += 1
        while self._count > MAXCALLS and len(self._traces) > 1:
            self._count -= len(self._traces.popitem(last=False)[1])


CALLS: Final = CacheKind[str, RecentCalls]("recent calls by model", most=_MAX_MODELS)
_guard: Final = threading.Lock()


def recent_calls(site: Site, mapping: SpanMapping) -> RecentCalls:
    with _guard:  # threads that ask at the same moment share one object
        return site.cache.get(CALLS, mapping.events.spec.model, lambda: RecentCalls(_stored_calls(site, mapping)))


def _stored_calls(site: Site, mapping: SpanMapping) -> Iterable[tuple[str, Call]]:
    model = mapping.events.spec.model
    extent = site.events.extent(model)
    if not extent.rows:
        return
    asked, answered, latency = mapping.asked, mapping.answered, mapping.latency
    names = dict.fromkeys(["event_id", "trace_id", "span_id", "ts", *(n for n in (asked, answered, latency) if n)])
    rows = site.events.events(model, from_seq=max(0, extent.next_seq - MAXCALLS), columns=list(names))
    rows = rows.filter(pl.col("trace_id").is_not_null() & pl.col("span_id").is_not_null())
    others: dict[str, list[str]] = {}
    for own, of in site.events.standing_for(model).items():
        others.setdefault(of, []).append(own)
    for row in rows.with_columns(end=pl.col("ts").dt.epoch("ns")).iter_rows(named=True):
        question, answer = (
            None if name is None or row[name] is None else hash(row[name]) for name in (asked, answered)
        )
        event_id, took = row["event_id"], row[latency] if latency is not None else None
        start = 0 if took is None else row["end"] - int(took * 1e6)
        span = CallSpan(event_id, row["span_id"], "", None, start, row["end"], ("", ""), question, answer, None)
        yield row["trace_id"], Call(event_id, [span, *(_named(own, span.end) for own in others.get(event_id, ()))])


def _named(event_id: str, end: int) -> CallSpan:
    """A span of which only the id is known."""
    return CallSpan(event_id, event_id.rpartition("-")[2], "", None, 0, end, ("", ""), None, None, None)

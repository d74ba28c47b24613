"""Store the spans that a mapping selects: one event for each call, and what is known of its other spans."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from monitor.ingest.ndjson import Rejection
from monitor.ingest.otlp import span_texts
from monitor.ingest.otlp.calls import Call
from monitor.ingest.otlp.mapping import SpanMapping, events_from
from monitor.ingest.otlp.merge import Division, divided, without_event
from monitor.ingest.otlp.recent import RecentCalls, filled_of, recent_calls
from monitor.ingest.otlp.spans import Span
from monitor.ingest.otlp.tables import SpanText
from monitor.ingest.otlp.verdict import MERGED, SENT_AGAIN
from monitor.ingest.receive import store_replacements, store_rows
from monitor.site import Site


@dataclass
class StoredSpans:
    """What became of the spans of one mapping."""

    rejected: list[Rejection] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    event_of: dict[int, str] = field(default_factory=dict)  # of spans that have no event of their own, by number
    merged: Counter[str] = field(default_factory=Counter)  # MERGED or SENT_AGAIN
    texts: list[SpanText] = field(default_factory=list)  # of log records, that the events have once they are durable


def store_spans(
    site: Site, mapping: SpanMapping, selected: Sequence[Span], by_trace: Mapping[str, Sequence[Span]], now: datetime,
    *, texts_wait: bool,
) -> StoredSpans:  # fmt: skip
    """Store the selected spans of a request; they are in the log when this returns, and durable once it is synced.

    Args:
        by_trace: all spans of the request by trace.
        texts_wait: whether texts of log records may wait for one of the spans.
    """
    recent = recent_calls(site, mapping)
    with recent.opened():
        return _Storing(site, mapping, recent, now, texts_wait).store(divided(mapping, recent, selected, by_trace))


class _Storing:
    def __init__(self, site: Site, mapping: SpanMapping, recent: RecentCalls, now: datetime, texts_wait: bool) -> None:
        self.site, self.mapping, self.recent, self.now, self.texts_wait = site, mapping, recent, now, texts_wait
        self.target, self.model = mapping.events, mapping.events.spec.model
        self.done = StoredSpans()
        self.filled: dict[str, int] = {}  # the columns of the new events that have a value, by id

    def store(self, division: Division) -> StoredSpans:
        refused = self._append(division.events, division.others())
        others = list(without_event(division, refused)) if refused else []
        if others:  # the chosen span of a call does not fit: another one is its event
            refused |= self._append(others, {})
        self.done.event_of = dict(division.event_of)
        self.recent.add_alone(division.alone, self.filled)
        for trace, call in division.calls:
            if call.event_id in self.filled:
                call.filled = self.filled[call.event_id]
                self.recent.add(trace, call)
        merged = [(s, of) for s, of in division.merged if s.event_id != of and of in self.filled]
        self.done.merged[SENT_AGAIN] += sum(s.event_id == of for s, of in division.merged)
        self._name(merged)
        if division.later:
            self._revise(division.later)
        return self.done

    def _append(self, spans: Sequence[Span], others: Mapping[str, Sequence[Span]]) -> dict[int, str]:
        """Store spans as events; returns the event ids of those that were refused, by number."""
        if not spans:
            return {}
        checked = events_from(self.mapping, spans, self.now, others)
        texts: list[SpanText] = []
        if self.texts_wait:
            frame, texts = span_texts.filled(self.site, self.target, checked.frame)
            checked = replace(checked, frame=frame)
        receipt = store_rows(self.site, self.target, checked, self.now)
        if not receipt.duplicates:  # else some of the texts wait until the stored events are amended
            self.done.texts += texts
        self.done.rejected += checked.rejected
        self.done.accepted += receipt.accepted
        self.filled |= zip(checked.frame["event_id"].to_list(), filled_of(checked.frame, self.mapping), strict=True)
        if receipt.repeated:  # sent again after a start, or by way of another process
            again = set(receipt.repeated)
            self._revise([(s, Call(s.event_id), True) for s in spans if s.number in again])
        lines = {one.line for one in checked.rejected}
        return {span.number: span.event_id for span in spans if span.number in lines}

    def _revise(self, candidates: Sequence[tuple[Span, Call, bool]]) -> None:
        """Add spans of calls whose event is stored: the fuller one counts, and has what it lacks from the others."""
        filled = {span.number: self.mapping.filled(span) for span, _, _ in candidates}
        stored = self._stored(c.event_id for s, c, _ in candidates if _may_add(s, c, filled[s.number]))
        adding: dict[str, list[tuple[Span, bool]]] = {}
        named: list[tuple[Span, str]] = []
        for span, call, is_known in candidates:
            row, has = stored.get(call.event_id), filled[span.number]
            if row is not None and (row.adds(has) or row.is_fuller(span, has)):
                adding.setdefault(call.event_id, []).append((span, row.is_fuller(span, has)))
                row.take(span, has)
                if (known := call.of(span.event_id)) is not None:
                    known.end = span.end
            elif is_known:
                self.done.duplicates += 1
            else:
                named.append((span, call.event_id))
            call.filled = call.filled if row is None else row.filled
        self._name(named)
        if adding:
            self._replace(adding, stored)

    def _name(self, spans: Sequence[tuple[Span, str]]) -> None:
        """Store that the ids of spans stand for events."""
        if not spans:
            return
        frame = pl.DataFrame({
            "@id": [s.event_id for s, _ in spans], "@of": [of for _, of in spans],
            "@reason": [MERGED] * len(spans), "event_id": [s.event_id for s, _ in spans],
            "ts": pl.Series([self.now], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(spans)),
            "trace_id": [s.trace_id for s, _ in spans], "span_id": [s.span_id for s, _ in spans],
        })  # fmt: skip
        new = store_replacements(self.site, self.target, frame, self.now)
        self.done.merged[MERGED] += new
        self.done.duplicates += len(spans) - new

    def _replace(self, adding: Mapping[str, Sequence[tuple[Span, bool]]], stored: Mapping[str, "_StoredEvent"]) -> None:
        spans = [span for of_event in adding.values() for span, _ in of_event]
        checked = events_from(self.mapping, spans, self.now)
        self.done.rejected += checked.rejected
        sent = dict(zip(checked.lines, checked.frame.to_dicts(), strict=True))
        rows = []
        for event_id, of_event in adding.items():
            event, last = stored[event_id], None
            values = event.values(checked.frame.columns, self.target.spec.with_role("subject"))
            for span, fuller in of_event:
                if (new := sent.get(span.number)) is None:  # rejected
                    continue
                first, second = (new, values) if fuller else (values, new)
                values = {n: second[n] if first[n] is None else first[n] for n in values}
                last = span
                self.done.merged[SENT_AGAIN if span.event_id == event_id else MERGED] += 1
                if span.event_id != event_id:
                    rows.append({"event_id": span.event_id, "@id": span.event_id, "@of": event_id, "ts": self.now})
            if last is not None:
                digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16]
                found = {"event_id": event_id, "@id": f"{event_id}:{digest}", "@of": event_id, "@seq": event.seq}
                rows.append(values | found)
        if rows:
            own = {"@id": pl.String(), "@of": pl.String(), "@seq": pl.Int64()}
            frame = pl.DataFrame(rows, schema={**checked.frame.schema, **own})
            store_replacements(self.site, self.target, frame.with_columns(pl.lit(MERGED).alias("@reason")), self.now)

    def _stored(self, ids: Iterable[str]) -> dict[str, "_StoredEvent"]:
        wanted = pl.Series(list(dict.fromkeys(ids)), dtype=pl.String)
        if wanted.is_empty():
            return {}
        rows = self.site.events.events_of(self.model, wanted)
        filled = filled_of(rows, self.mapping)
        ends = rows["ts"].dt.epoch("us")
        return {
            row["event_id"]: _StoredEvent(row, row["seq"], bits, end)
            for row, bits, end in zip(rows.iter_rows(named=True), filled, ends, strict=True)
        }


@dataclass(slots=True)
class _StoredEvent:
    """An event as readers see it, and then with what is being added."""

    row: Mapping[str, Any]
    seq: int
    filled: int
    end: int  # microseconds since 1970

    def adds(self, filled: int) -> bool:
        return bool(filled & ~self.filled)

    def is_fuller(self, span: Span, filled: int) -> bool:
        """Whether a span counts before the event: it has more values, or is a later record of the event's own span."""
        more = filled.bit_count() > self.filled.bit_count()
        if span.event_id != self.row["event_id"]:
            return more
        end = span.end // 1000
        return end > self.end or (more and end == self.end)

    def take(self, span: Span, filled: int) -> None:
        self.end = span.end // 1000 if self.is_fuller(span, filled) else self.end
        self.filled |= filled

    def values(self, columns: Sequence[str], subjects: Sequence[str]) -> dict[str, Any]:
        """The values of these columns; a digest of a subject is marked, so that it is not digested again."""
        found = {name: self.row.get(name) for name in columns}
        marked = {name: f"[subject:{found[name]}]" for name in subjects if found.get(name) is not None}
        return found | marked


def by_trace(spans: Sequence[Span]) -> Mapping[str, Sequence[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return found


def _may_add(span: Span, call: Call, filled: int) -> bool:
    """Whether a span may add to the call's event; the stored row decides."""
    if call.filled is None or filled & ~call.filled or filled.bit_count() > call.filled.bit_count():
        return True
    known = call.of(span.event_id) if span.event_id == call.event_id else None
    return known is not None and span.end // 1000 > known.end // 1000

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
from monitor.ingest.otlp.recent import RecentCalls, recent_calls
from monitor.ingest.otlp.spans import Span
from monitor.ingest.otlp.verdict import MERGED, SENT_AGAIN
from monitor.ingest.receive import store_revisions, store_rows
from monitor.ingest.validate import EARLIEST_TIME, MAX_CLOCK_AHEAD
from monitor.site import Site


@dataclass
class StoredSpans:
    """What became of the spans of one mapping."""

    rejected: list[Rejection] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    event_of: dict[int, str] = field(default_factory=dict)  # of spans that have no event of their own, by number
    merged: Counter[str] = field(default_factory=Counter)  # MERGED or SENT_AGAIN


def store_spans(
    site: Site, mapping: SpanMapping, selected: Sequence[Span], by_trace: Mapping[str, Sequence[Span]], now: datetime
) -> StoredSpans:
    """Store the selected spans of a request; they are in the log when this returns, and durable once it is synced.

    Args:
        by_trace: all spans of the request by trace.
    """
    recent = recent_calls(site, mapping)
    with recent.lock:
        return _Storing(site, mapping, recent, now).store(divided(mapping, recent, selected, by_trace))


class _Storing:
    def __init__(self, site: Site, mapping: SpanMapping, recent: RecentCalls, now: datetime) -> None:
        self.site, self.mapping, self.recent, self.now = site, mapping, recent, now
        self.model = mapping.events.spec.model
        self.done = StoredSpans()
        self.full: dict[str, int] = {}  # how full the new events are, by id

    def store(self, division: Division) -> StoredSpans:
        refused = self._append(division.events)
        others = list(without_event(division, refused)) if refused else []
        if others:  # the chosen span of a call does not fit: another one is its event
            refused |= self._append(others)
        self.done.event_of = dict(division.event_of)
        self.done.duplicates += division.repeated
        for trace, call in division.calls:
            if call.event_id in self.full:
                call.fullness = self.full[call.event_id]
                self.recent.add(trace, call)
        merged = [(s, of) for s, of in division.merged if s.event_id != of and of in self.full]
        self.done.merged[SENT_AGAIN] += sum(s.event_id == of for s, of in division.merged)
        if merged:
            self.done.merged[MERGED] += store_revisions(self.site, self.mapping.events, self._named(merged), self.now)
        if division.fuller:
            self._revise(division.fuller)
        return self.done

    def _append(self, spans: Sequence[Span]) -> dict[int, str]:
        """Store spans as events; returns the event ids of those that were refused, by number."""
        if not spans:
            return {}
        checked = events_from(self.mapping, spans, self.now)
        frame, texts = span_texts.filled(self.site, self.mapping.events, checked.frame)
        checked = replace(checked, frame=frame)
        receipt = store_rows(self.site, self.mapping.events, checked, self.now)
        if not receipt.duplicates:  # else some of the texts wait until the stored events are amended
            span_texts.settle(self.site, texts)
        self.done.rejected += checked.rejected
        self.done.accepted += receipt.accepted
        self.full |= zip(checked.frame["event_id"], _fullness(checked.frame, self.mapping), strict=True)
        if receipt.repeated:  # sent again after a start, or by way of another process
            again = set(receipt.repeated)
            self._revise([(s, Call(s.event_id)) for s in spans if s.number in again])
        lines = {one.line for one in checked.rejected}
        return {span.number: span.event_id for span in spans if span.number in lines}

    def _revise(self, candidates: Sequence[tuple[Span, Call]]) -> None:
        """Store spans of calls whose event is stored: in its place those that are fuller, of the others the id."""
        full = {span.number: self.mapping.fullness(span) for span, _ in candidates}
        stored = self._stored(c.event_id for s, c in candidates if _may_be_fuller(s, c, full[s.number]))
        chosen: dict[str, tuple[Span, str]] = {}
        named: list[tuple[Span, str]] = []
        for span, call in candidates:
            row, fullness = stored.get(call.event_id), full[span.number]
            sent_again = span.event_id == call.event_id
            if row is not None:
                call.fullness = row["fullness"]
            if row is not None and (
                fullness > row["fullness"]
                or (sent_again and fullness == row["fullness"] and span.end // 1000 > row["ts"])
            ):
                if (before := chosen.pop(call.event_id, None)) is not None and before[0].event_id != call.event_id:
                    named.append((before[0], call.event_id))
                chosen[call.event_id] = (span, SENT_AGAIN if sent_again else MERGED)
                row |= {"fullness": fullness, "ts": span.end // 1000}
                call.fullness = fullness
                if (known := call.of(span.event_id)) is not None:
                    known.end = span.end
            elif sent_again:
                self.done.duplicates += 1
            else:
                named.append((span, call.event_id))
        if named:
            new = store_revisions(self.site, self.mapping.events, self._named(named), self.now)
            self.done.merged[MERGED] += new
            self.done.duplicates += len(named) - new
        if chosen:
            self._replace(chosen, stored)

    def _replace(self, chosen: Mapping[str, tuple[Span, str]], stored: Mapping[str, dict[str, Any]]) -> None:
        of_span = {span.number: (event_id, reason) for event_id, (span, reason) in chosen.items()}
        checked = events_from(self.mapping, [span for span, _ in chosen.values()], self.now)
        self.done.rejected += checked.rejected
        of = [of_span[line] for line in checked.lines]
        digests = [hashlib.sha256(repr(row).encode()).hexdigest()[:16] for row in checked.frame.iter_rows()]
        frame = checked.frame.with_columns(
            pl.Series("@id", [f"{i}:{d}" for i, d in zip(checked.frame["event_id"], digests, strict=True)], pl.String),
            pl.Series("@of", [event_id for event_id, _ in of], pl.String),
            pl.Series("@seq", [stored[event_id]["seq"] for event_id, _ in of], pl.Int64),
            pl.Series("@reason", [reason for _, reason in of], pl.String),
        )
        new = store_revisions(self.site, self.mapping.events, frame, self.now)
        if new:
            self.done.merged.update(reason for _, reason in of)
        else:
            self.done.duplicates += frame.height

    def _stored(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Number, end in microseconds and fullness of stored events."""
        wanted = pl.Series(list(dict.fromkeys(ids)), dtype=pl.String)
        if wanted.is_empty():
            return {}
        rows = self.site.events.events_of(self.model, wanted)
        found = rows.select("event_id", "seq", pl.col("ts").dt.epoch("us"))
        found = found.with_columns(pl.Series("fullness", _fullness(rows, self.mapping), pl.Int64))
        return {row["event_id"]: row for row in found.to_dicts()}

    def _named(self, spans: Sequence[tuple[Span, str]]) -> pl.DataFrame:
        """Revisions that only say that the id of a span stands for an event."""
        first, last = EARLIEST_TIME, self.now + MAX_CLOCK_AHEAD
        ends = [(s.end or s.start) // 1000 for s, _ in spans]
        low, high = (int(at.timestamp() * 1e6) for at in (first, last))
        instead = int(self.now.timestamp() * 1e6)
        return pl.DataFrame({
            "@id": [s.event_id for s, _ in spans], "@of": [of for _, of in spans],
            "@reason": [MERGED] * len(spans), "event_id": [s.event_id for s, _ in spans],
            "ts": pl.Series([at if low <= at <= high else instead for at in ends]).cast(pl.Datetime("us", "UTC")),
            "trace_id": [s.trace_id for s, _ in spans], "span_id": [s.span_id for s, _ in spans],
        })  # fmt: skip


def by_trace(spans: Sequence[Span]) -> Mapping[str, Sequence[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return found


def _fullness(rows: pl.DataFrame, mapping: SpanMapping) -> list[int]:
    """How many of the event's columns each row has a value for, as `SpanMapping.fullness`."""
    columns = [name for name in mapping.events.spec.event_columns if name in rows.columns]
    if not columns:
        return [0] * rows.height
    return rows.select(pl.sum_horizontal(pl.col(columns).is_not_null().cast(pl.Int64))).to_series().to_list()


def _may_be_fuller(span: Span, call: Call, fullness: int) -> bool:
    """Whether a span may take the place of the call's event; the stored row decides."""
    if call.fullness is None or fullness > call.fullness:
        return True
    known = call.of(span.event_id) if span.event_id == call.event_id else None
    return known is not None and fullness == call.fullness and span.end // 1000 > known.end // 1000

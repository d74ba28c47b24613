"""Divide the spans of a request into those that become events and those that describe a call of another span."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from monitor.ingest.otlp.calls import CALL_KINDS, Call, best_call, call_span, may_share_calls, spans_above
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.mapping import SpanMapping
from monitor.ingest.otlp.recent import RecentCalls
from monitor.ingest.otlp.spans import Span, has_ids

MAX_COMPARED: Final = 200  # calls of a trace, the newest, that a span is compared with: a trace may have many thousands


@dataclass
class Division:
    """What becomes of each span."""

    events: list[Span] = field(default_factory=list)  # events of their own, in the order of the request
    merged: list[tuple[Span, str]] = field(default_factory=list)  # spans that never count, with their event
    later: list[tuple[Span, Call, bool]] = field(default_factory=list)  # of a stored call; whether the span is known
    calls: list[tuple[str, Call]] = field(default_factory=list)  # new ones that were compared, with their trace
    alone: list[tuple[Span, tuple[str, ...]]] = field(default_factory=list)  # the only spans of new calls, and `above`

    @property
    def event_of(self) -> Mapping[int, str]:
        """The event of each span that has none of its own; by its number."""
        of_merged = {span.number: event_id for span, event_id in self.merged}
        return of_merged | {span.number: call.event_id for span, call, _ in self.later}

    def others(self) -> Mapping[str, Sequence[Span]]:
        """The merged spans of each event that has some."""
        found: dict[str, list[Span]] = {}
        for span, event_id in self.merged:
            found.setdefault(event_id, []).append(span)
        return found


def divided(
    mapping: SpanMapping, recent: RecentCalls, selected: Sequence[Span], by_trace: Mapping[str, Sequence[Span]]
) -> Division:
    """Divide the spans that a mapping selects.

    Args:
        mapping: how full a span is depends on its columns.
        recent: the model's recent calls, opened.
        selected: the spans.
        by_trace: all spans of the request by trace.
    """
    found = Division()
    of_trace: dict[str, list[Span]] = {}
    for span in selected:
        of_trace.setdefault(span.trace_id, []).append(span)
    # What holds for the request as a whole holds for each of its traces, and is found out faster.
    may_share = may_share_calls(selected, list(chain.from_iterable(by_trace.values())))
    for trace, spans in of_trace.items():
        known = recent.of(trace)
        if known or (may_share and len(spans) > 1 and may_share_calls(spans, by_trace[trace])):
            _divide_trace(mapping, found, known, spans, by_trace[trace])
        else:
            found.events += spans
            by_id = {span.span_id: span for span in by_trace[trace]} if len(by_trace[trace]) > len(spans) else {}
            found.alone += [(span, spans_above(span, by_id)) for span in spans if kind_of(span) in CALL_KINDS]
    found.events.sort(key=lambda span: span.number)
    return found


def _divide_trace(
    mapping: SpanMapping, found: Division, known: Sequence[Call], spans: Sequence[Span], everything: Sequence[Span]
) -> None:
    calls = list(known)
    by_id = {span.span_id: span for span in everything}
    above = {span.span_id: spans_above(span, by_id) for span in spans}
    of_stored = any(span.is_stored for call in calls for span in call.spans)
    of_id = {other.event_id: call for call in reversed(calls) for other in call.spans}
    new: dict[int, list[Span]] = {}  # by the identity of the call
    # A span within another ends first, so what is outside is compared with all that is inside.
    for span in sorted(spans, key=lambda s: (s.end, -len(above[s.span_id]))):
        if not has_ids(span.trace_id, span.span_id):  # it is refused, and is of no call
            found.events.append(span)
            continue
        one = call_span(span, above[span.span_id])
        one.filled = mapping.filled(span) & mapping.plain if of_stored else None
        call = of_id.get(span.event_id)
        is_known = call is not None
        call = call or best_call(one, calls[-MAX_COMPARED:])
        if call is None:
            call = Call(span.event_id)
            calls.append(call)
            new[id(call)] = []
        if id(call) in new:
            new[id(call)].append(span)
        else:
            found.later.append((span, call, is_known))
        if not is_known:
            call.spans.append(one)
            of_id[span.event_id] = call
    for call in calls:
        if of_call := new.get(id(call)):
            _choose(mapping, found, call, of_call)


def _choose(mapping: SpanMapping, found: Division, call: Call, spans: Sequence[Span]) -> None:
    filled = {span.number: mapping.filled(span).bit_count() for span in spans}
    best = max(spans, key=lambda s: (filled[s.number], s.end > 0, len(s.attributes) + len(s.events), s.end))
    if len(spans) > 1:  # of one span the last record says how the call ended
        best = max((s for s in spans if s.event_id == best.event_id), key=lambda s: (s.end, filled[s.number]))
    call.event_id = best.event_id
    found.events.append(best)
    found.calls.append((best.trace_id, call))
    found.merged += [(span, best.event_id) for span in spans if span is not best]


def without_event(division: Division, refused: Mapping[int, str]) -> Iterator[Span]:
    """The spans of calls whose chosen span was refused."""
    gone = {span.event_id for span in division.events if span.number in refused}
    return (span for span, event_id in division.merged if event_id in gone)

"""The lines of a trace: spans in the order of their tree, with the place of each in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from governance.access.roles import Caller

if TYPE_CHECKING:
    from api.pages.events.traces import TraceEvent
    from monitor.ingest.otlp.span_trees import OutlinedSpan

MOST_ROWS: Final = 1_000
DEEPEST: Final = 12  # levels that are indented
WIDTH: Final = 1_000  # of the drawing of a line, whatever its size on the page
LEAST: Final = 4  # width of a span that took next to no time


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One line. `x` and `width` place its bar; times are milliseconds since the trace began."""

    span_id: str
    depth: int
    name: str
    kind: str
    failed: bool
    begin_ms: float | None
    end_ms: float | None
    x: float
    width: float
    input_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    model: str | None
    event: "TraceEvent | None"
    orphan: bool = False  # its parent was not sent, or is not kept

    @property
    def ms(self) -> float | None:
        return None if self.begin_ms is None or self.end_ms is None else self.end_ms - self.begin_ms


def tree_rows(
    spans: "Sequence[OutlinedSpan]", events: "Mapping[str, TraceEvent]", caller: Caller
) -> list[SpanRow]:  # fmt: skip
    """The spans, each below its parent, siblings by time. What models outside the caller's scope took is unnamed."""
    by_id = {span.span_id: span for span in spans}
    below: dict[str, list[OutlinedSpan]] = {}
    roots: list[OutlinedSpan] = []
    for span in sorted(spans, key=lambda s: (s.start or s.end, s.span_id)):
        known = span.parent_id in by_id and span.parent_id != span.span_id
        (below.setdefault(span.parent_id, []) if known else roots).append(span)
    begin = min((span.start for span in spans if span.start), default=0)
    end = max((max(span.start, span.end) for span in spans), default=0)
    found: list[SpanRow] = []
    seen: set[str] = set()
    waiting = [(span, 0) for span in reversed(roots)]
    left = list(reversed(spans))  # spans of a circle of parents have no root
    while (waiting or left) and len(found) < MOST_ROWS:
        span, depth = waiting.pop() if waiting else (left.pop(), 0)
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        found.append(_row(span, depth, begin, end, events.get(span.span_id), caller, by_id))
        waiting += [(child, depth + 1) for child in reversed(below.get(span.span_id, []))]
    return found


def is_named(span: "OutlinedSpan", caller: Caller) -> bool:
    """Whether the caller may read what the span was: it is no event, or one of a model within the scope."""
    return not span.models or any(caller.sees(model) for model in span.models)


def flat_rows(events: "Sequence[TraceEvent]", latency: Mapping[str, float]) -> list[SpanRow]:
    """The events of a trace whose outline is not kept, by time; an event's time is the end of its call."""
    if not events:
        return []
    ends = [event.at.timestamp() * 1e3 for event in events]
    starts = [end - latency.get(event.event_id, 0.0) for end, event in zip(ends, events, strict=True)]
    begin, whole = min(starts), max(max(ends) - min(starts), 1e-9)
    return [
        SpanRow(
            event.span_id or event.event_id, 0, event.event_id, "event", failed=False, begin_ms=first - begin,
            end_ms=last - begin, x=min(WIDTH - LEAST, (first - begin) / whole * WIDTH),
            width=max(LEAST, (last - first) / whole * WIDTH), input_tokens=None, output_tokens=None, cost_usd=None,
            model=None, event=event,
        )
        for event, first, last in zip(events, starts, ends, strict=True)
    ]  # fmt: skip


def _row(
    span: "OutlinedSpan", depth: int, begin: int, end: int, event: "TraceEvent | None", caller: Caller,
    by_id: "Mapping[str, OutlinedSpan]",
) -> SpanRow:  # fmt: skip
    whole, timed = max(end - begin, 1), 0 < span.start <= span.end
    x = (span.start - begin) / whole * WIDTH if timed else 0.0
    width = (span.end - span.start) / whole * WIDTH if timed else 0.0
    if not is_named(span, caller):
        span = replace(
            span, name="a call of another model", tool=None, model=None, input_tokens=None, output_tokens=None,
            cost_usd=None,
        )  # fmt: skip
    return SpanRow(
        span.span_id, min(depth, DEEPEST), span.tool or span.name or "unnamed", span.kind, failed=span.failed,
        begin_ms=(span.start - begin) / 1e6 if timed else None, end_ms=(span.end - begin) / 1e6 if timed else None,
        x=min(x, WIDTH - LEAST), width=max(LEAST, width) if timed else 0.0, input_tokens=span.input_tokens,
        output_tokens=span.output_tokens, cost_usd=span.cost_usd, model=span.model, event=event,
        orphan=bool(span.parent_id) and span.parent_id not in by_id,
    )  # fmt: skip

"""Which spans describe one and the same call of a model.

Two instrumentations of one application make two spans of a call: one within the other, as a framework's above that of
the client it uses, or one beside the other. A span may also be sent when it starts and again when it ends. A call is
one event, whose id is that of its fullest span among those that came first; the ids of its other spans stand for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitor.ingest.otlp.conversation import answer_text, question_text
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.spans import Span
from monitor.spec.traces import SpanKind

# Kinds of one call each. Agents, chains and tools call each other: spans of these kinds within each other are several.
CALL_KINDS: Final[frozenset[SpanKind]] = frozenset({"llm", "embedding", "reranker", "guardrail"})
_MIN_OVERLAP: Final = 0.8  # of the longer of two spans side by side that have no text to compare


@dataclass(slots=True, eq=False)
class CallSpan:
    """What is remembered of a span to know another span of the same call; times in nanoseconds since 1970."""

    event_id: str
    span_id: str
    parent_id: str
    kind: SpanKind | None  # None for a row that was read from the store
    start: int
    end: int
    scope: tuple[str, str]  # the instrumentation and its convention; empty for a row that was read from the store
    asked: int | None  # hashes, equal for equal texts
    answered: int | None
    response_id: str | None
    above: frozenset[str] = frozenset()  # ids of the spans around it that came in the same request


@dataclass(slots=True, eq=False)
class Call:
    """One call: its event and the spans that describe it."""

    event_id: str
    spans: list[CallSpan] = field(default_factory=list)
    filled: int | None = None  # the columns that the event has a value for, a bit each; None if only its row knows

    def of(self, event_id: str) -> CallSpan | None:
        return next((span for span in self.spans if span.event_id == event_id), None)


def call_span(span: Span, above: frozenset[str] = frozenset()) -> CallSpan:
    asked, answered = question_text(span), answer_text(span)
    return CallSpan(
        span.event_id, span.span_id, span.parent_id, kind_of(span), span.start, span.end, scope_of(span),
        None if asked is None else hash(asked), None if answered is None else hash(answered),
        response_id(span), above,
    )  # fmt: skip


def response_id(span: Span) -> str | None:
    """The provider's id of the response."""
    found = span.attributes.get("gen_ai.response.id") or span.attributes.get("llm.response.id")
    return found if isinstance(found, str) else None


def best_call(one: CallSpan, calls: Iterable[Call]) -> Call | None:
    """Return the call that a span describes too, of those of its trace; the one that agrees best."""
    if one.kind not in CALL_KINDS:
        return None
    found = [(_score(one, call), i, call) for i, call in enumerate(calls)]
    score, _, best = max(found, key=lambda f: f[:2], default=(0, 0, None))
    return best if score else None


def spans_above(spans: Sequence[Span]) -> dict[str, frozenset[str]]:
    """Return the ids of the spans of one trace around each, up to an agent, chain or tool: there the call began."""
    by_id = {span.span_id: span for span in spans}
    found: dict[str, frozenset[str]] = {}
    for span in spans:
        above: set[str] = set()
        at = by_id.get(span.parent_id)
        while at is not None and at.span_id not in above and (kind_of(at) in CALL_KINDS or kind_of(at) == "other"):
            above.add(at.span_id)
            at = by_id.get(at.parent_id)
        found[span.span_id] = frozenset(above)
    return found


def may_share_calls(spans: Sequence[Span], everything: Sequence[Span]) -> bool:
    """Whether some spans of a trace may hold two of one call; False for the usual trace, without a further look.

    Args:
        spans: the spans that are compared.
        everything: all spans of the trace in this request.
    """
    if len({span.span_id for span in spans}) < len(spans):
        return True
    calls = [span for span in spans if kind_of(span) in CALL_KINDS]
    if len(calls) < 2:
        return False
    if len({scope_of(span) for span in calls}) > 1:
        return True
    return not {span.span_id for span in calls}.isdisjoint([span.parent_id for span in everything])


def _score(one: CallSpan, call: Call) -> int:
    """How well a span agrees with a call: 0 if it is another one."""
    best = 0
    for other in call.spans:
        agreed = _agreement(one, other)
        if not agreed and _excludes(one, other):
            return 0
        best = max(best, agreed)
    return best


def _excludes(one: CallSpan, other: CallSpan) -> bool:
    """Whether two spans cannot be of one call, although a third may be of the call of either."""
    if _are_nested(one, other):
        return False
    if _differ(one.kind, other.kind) or (one.scope == other.scope and any(one.scope)):
        return True
    return _differ(one.response_id, other.response_id) or _differ(one.answered, other.answered)


def _agreement(one: CallSpan, other: CallSpan) -> int:
    """How surely two spans are of one call: 0 if they are not."""
    if _differ(one.kind, other.kind) or one.event_id == other.event_id:
        return 0
    nested = _are_nested(one, other)
    if one.response_id is not None and other.response_id is not None:
        same_answer = one.response_id == other.response_id
        return 9 if same_answer and (nested or one.scope != other.scope) else 0
    if _differ(one.answered, other.answered):
        return 0
    answer = one.answered is not None and one.answered == other.answered
    question = one.asked is not None and one.asked == other.asked
    if nested:
        if answer:
            return 8 if question else 7
        return 0 if _differ(one.asked, other.asked) else 5 if question else 4
    if one.scope == other.scope or _differ(one.asked, other.asked):
        return 0
    overlap = _overlap(one, other)
    if not (any(one.scope) and any(other.scope)):  # one of them was read from the store, which knows less
        return 3 if question and overlap > 0 else 0
    if answer or question:
        return (6 if answer else 3) if overlap > 0 else 0
    return 2 if overlap >= _MIN_OVERLAP else 0


def _are_nested(one: CallSpan, other: CallSpan) -> bool:
    return (
        one.parent_id == other.span_id or other.parent_id == one.span_id
        or other.span_id in one.above or one.span_id in other.above
    )  # fmt: skip


def _overlap(one: CallSpan, other: CallSpan) -> float:
    """Return the share of the longer span in which both run; of a row without a start, 1 if it ended within."""
    if not one.start or not other.start:
        end, span = (one.end, other) if not one.start else (other.end, one)
        return float(span.start <= end <= span.end + 1000)  # the store keeps microseconds
    common = min(one.end, other.end) - max(one.start, other.start)
    longer = max(one.end - one.start, other.end - other.start)
    return max(0.0, common / longer) if longer > 0 else float(common == 0)


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def scope_of(span: Span) -> tuple[str, str]:
    """The instrumentation that made a span, and the convention that it follows."""
    attributes: Mapping[str, object] = span.attributes
    if "openinference.span.kind" in attributes:
        return span.scope, "openinference"
    if "llm.request.type" in attributes or "traceloop.span.kind" in attributes:
        return span.scope, "openllmetry"
    return span.scope, "mlflow" if "mlflow.spanType" in attributes else "otel"

"""Which spans describe one and the same call of a model.

Two instrumentations of one application make two spans of a call: one within the other, as a framework's above that of
the client it uses, or one beside the other. A span may also be sent when it starts and again when it ends. A call is
one event, whose id is that of its fullest span among those that came first; the ids of its other spans stand for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monitor.ingest.otlp.call_marks import are_other_models, is_other_number, mark_of, models_of, response_id, tokens_of
from monitor.ingest.otlp.conversation import answer_text, question_text
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.spans import Span
from monitor.spec.traces import SpanKind

# Kinds of one call each. Agents, chains and tools call each other: spans of these kinds within each other are several.
CALL_KINDS: Final[frozenset[SpanKind]] = frozenset({"llm", "embedding", "reranker", "guardrail"})
_MIN_OVERLAP: Final = 0.8  # of the longer of two spans side by side that have no text to compare
_MIN_OVERLAP_ALONE: Final = 0.95  # the same where they have no tokens to compare either
_MAX_ABOVE: Final = 32  # spans around one that are remembered; a request may nest thousands


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
    models: tuple[str, ...] = ()  # the names of the model that was asked for and of the one that answered
    tokens: tuple[Any, Any] = (None, None)  # of the question and of the answer
    above: tuple[str, ...] = ()  # ids of the spans around it, the nearest first
    filled: int | None = None  # of a row that was read from the store, and of a span that is compared with one

    @property
    def is_stored(self) -> bool:
        """Whether it was read from the store, which knows less of a span than was sent."""
        return not any(self.scope)


@dataclass(slots=True, eq=False)
class Call:
    """One call: its event and the spans that describe it."""

    event_id: str
    spans: list[CallSpan] = field(default_factory=list)
    filled: int | None = None  # the columns that the event has a value for, a bit each; None if only its row knows

    def of(self, event_id: str) -> CallSpan | None:
        return next((span for span in self.spans if span.event_id == event_id), None)


def call_span(span: Span, above: tuple[str, ...] = ()) -> CallSpan:
    return CallSpan(
        span.event_id, span.span_id, span.parent_id, kind_of(span), span.start, span.end, scope_of(span),
        mark_of(question_text(span)), mark_of(answer_text(span)), response_id(span), models_of(span), tokens_of(span),
        above,
    )  # fmt: skip


def best_call(one: CallSpan, calls: Iterable[Call]) -> Call | None:
    """Return the call that a span describes too, of those of its trace; the one that agrees best."""
    if one.kind not in CALL_KINDS:
        return None
    best, of_best = None, (0, 0.0)
    for call in calls:
        if (score := _score(one, call)) and score >= of_best[0]:
            found = score, max(_overlap(one, other) for other in call.spans)
            if found >= of_best:
                best, of_best = call, found
    return best


def spans_above(span: Span, by_id: Mapping[str, Span]) -> tuple[str, ...]:
    """Return the ids of the spans around one, up to an agent, chain or tool: there the call began.

    Args:
        span: the one within.
        by_id: the spans of its trace in this request. The first that is not among them may come in a later one.
    """
    above: list[str] = []
    at = span.parent_id
    while at and at not in above and len(above) < _MAX_ABOVE:
        outer = by_id.get(at)
        if outer is not None and kind_of(outer) not in CALL_KINDS and kind_of(outer) != "other":
            break
        above.append(at)
        at = outer.parent_id if outer is not None else ""
    return tuple(above)


def may_share_calls(spans: Sequence[Span], everything: Sequence[Span]) -> bool:
    """Whether some spans may hold two of one call; False for the usual traces, without a further look.

    Args:
        spans: the spans that are compared.
        everything: all spans of their traces in this request.
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
    if other.is_stored and other.filled is None:  # only its id is known: it may be an earlier attempt
        return True
    if _differ(one.kind, other.kind) or (_are_of_one_instrumentation(one, other) and not one.is_stored):
        return True
    if _differ(one.response_id, other.response_id) or _differ(one.answered, other.answered):
        return True
    return are_other_models(one.models, other.models)


def _agreement(one: CallSpan, other: CallSpan) -> int:
    """How surely two spans are of one call: 0 if they are not."""
    if _differ(one.kind, other.kind) or one.event_id == other.event_id:
        return 0
    nested = _are_nested(one, other)
    if one.response_id is not None and other.response_id is not None:
        same_answer = one.response_id == other.response_id
        return 9 if same_answer and (nested or not _are_of_one_instrumentation(one, other)) else 0
    if _differ(one.answered, other.answered):
        return 0
    answer = one.answered is not None and one.answered == other.answered
    question = one.asked is not None and one.asked == other.asked
    if answer and nested:
        return 8 if question else 7
    if _differ(one.asked, other.asked) or not (answer or _count_the_same(one, other, question=question)):
        return 0
    if nested:
        return 5 if question else 0 if are_other_models(one.models, other.models) else 4
    if _are_of_one_instrumentation(one, other) or are_other_models(one.models, other.models):
        return 0
    overlap = _overlap(one, other)
    if one.is_stored or other.is_stored:
        # Equal calls at the same time, of one instrumentation, have values for the same columns.
        return 3 if question and overlap >= _MIN_OVERLAP and one.filled != other.filled else 0
    if answer or question:
        return (6 if answer else 3) if overlap > 0 else 0
    counted = None not in one.tokens and None not in other.tokens
    return 2 if overlap >= (_MIN_OVERLAP if counted else _MIN_OVERLAP_ALONE) else 0


def _are_of_one_instrumentation(one: CallSpan, other: CallSpan) -> bool:
    """Whether their scopes have the same name, or, where one has none, also the same convention."""
    return one.scope == other.scope or (one.scope[0] == other.scope[0] != "")


def _count_the_same(one: CallSpan, other: CallSpan, *, question: bool) -> bool:
    """Whether two spans count the same tokens, where both count; of the same question those of the answer decide."""
    if is_other_number(one.tokens[1], other.tokens[1]):
        return False
    return question or not is_other_number(one.tokens[0], other.tokens[0])


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

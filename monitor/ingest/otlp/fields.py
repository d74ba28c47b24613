"""The span fields that a mapping may name, and the attributes in which instrumentations record them.

Sources: OpenTelemetry semantic conventions for generative AI (the current names first, then those of 1.36 and before),
OpenInference, OpenLLMetry. The first attribute that is present counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from monitor.ingest.otlp.conversation import answer_text, question_text
from monitor.ingest.otlp.spans import Span
from monitor.spec.traces import SpanKind

Getter = Callable[[Span], Any]

ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "model": (
        "gen_ai.response.model", "llm.response.model_name", "gen_ai.request.model", "llm.model_name",
        "llm.request.model_name", "embedding.model_name",
    ),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    "cost_usd": ("llm.cost.total", "gen_ai.usage.cost", "gen_ai.usage.total_cost"),
    "temperature": ("gen_ai.request.temperature",),
    "agent": ("gen_ai.agent.name", "agent.name"),
    "tool": ("gen_ai.tool.name", "tool.name", "tool_call.function.name"),
    "session": ("session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id"),
    "user": ("user.id", "enduser.id", "traceloop.association.properties.user_id"),
    "operation": ("gen_ai.operation.name", "llm.request.type", "openinference.span.kind"),
    "service_version": ("service.version",),
    "embedding": ("embedding.embeddings.0.embedding.vector",),  # of the first embedded text
}  # fmt: skip

_OPERATIONS: Final[Mapping[str, SpanKind]] = {
    "chat": "llm", "generate_content": "llm", "text_completion": "llm", "completion": "llm", "fine_tune": "other",
    "invoke_agent": "agent", "create_agent": "agent", "invoke_workflow": "chain", "execute_tool": "tool",
    "embeddings": "embedding", "embedding": "embedding", "retrieval": "retriever", "rerank": "reranker",
}  # fmt: skip
_KINDS: Final[Mapping[str, SpanKind]] = {
    "LLM": "llm", "AGENT": "agent", "TOOL": "tool", "CHAIN": "chain", "RETRIEVER": "retriever", "RERANKER": "reranker",
    "EMBEDDING": "embedding", "GUARDRAIL": "guardrail", "EVALUATOR": "evaluator",
    "WORKFLOW": "chain", "TASK": "chain",  # OpenLLMetry
}  # fmt: skip
_MODEL_ATTRIBUTES: Final = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name")


def kind_of(span: Span) -> SpanKind:
    """Return the kind of operation that a span describes."""
    attributes = span.attributes
    named = attributes.get("openinference.span.kind") or attributes.get("traceloop.span.kind")
    if isinstance(named, str):
        return _KINDS.get(named.upper(), "other")
    operation = attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type")
    if isinstance(operation, str):
        return _OPERATIONS.get(operation, "other")
    return "llm" if any(name in attributes for name in _MODEL_ATTRIBUTES) else "other"


def _latency_ms(span: Span) -> float | None:
    """Return the duration, or None if the span has no end or ends before it starts."""
    return (span.end - span.start) / 1e6 if 0 < span.start <= span.end else None


def _first_token_ms(span: Span) -> Any:
    for name in ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"):
        value = span.attributes.get(name)
        if isinstance(value, float | int) and not isinstance(value, bool):
            return value * 1000
    return None


def _total_tokens(span: Span) -> Any:
    for name in ("gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens"):
        if (value := span.attributes.get(name)) is not None:
            return value
    parts = [_first_of(span, ATTRIBUTES[name]) for name in ("input_tokens", "output_tokens")]
    return sum(parts) if all(type(p) in {int, float} for p in parts) else None


def _finish_reason(span: Span) -> Any:
    for name in ("gen_ai.response.finish_reasons", "llm.finish_reason", "gen_ai.completion.0.finish_reason"):
        value = span.attributes.get(name)
        if value is not None:
            return value[0] if isinstance(value, list) and value else value
    return None


def _error(span: Span) -> Any:
    if (kind := span.attributes.get("error.type")) is not None:
        return kind
    found = [event.get("exception.type") for name, event in span.events if name == "exception"]
    return found[-1] if found else None


COMPUTED: Final[Mapping[str, Getter]] = {
    "input": question_text,
    "output": answer_text,
    "latency_ms": _latency_ms,
    "first_token_ms": _first_token_ms,
    "total_tokens": _total_tokens,
    "finish_reason": _finish_reason,
    "status": lambda span: "error" if span.failed else "ok",
    "error": _error,
    "kind": kind_of,
    "span_name": lambda span: span.name or None,
    "parent_id": lambda span: span.parent_id or None,
    "service": lambda span: span.resource.get("service.name"),
}
FIELDS: Final = (*COMPUTED, *ATTRIBUTES)


def getter(sources: tuple[str, ...]) -> Getter:
    """Return a function that reads the first source a span has.

    A source is a field name of this module or an attribute key. Span attributes come before resource attributes.
    """
    steps = [_step(source) for source in sources]
    if len(steps) == 1:
        return steps[0]

    def first(span: Span) -> Any:
        for step in steps:
            if (value := step(span)) is not None:
                return value
        return None

    return first


def _step(source: str) -> Getter:
    names = ATTRIBUTES.get(source, (source,))
    return COMPUTED.get(source) or (lambda span: _first_of(span, names))


def _first_of(span: Span, names: tuple[str, ...]) -> Any:
    attributes, resource = span.attributes, span.resource
    for name in names:
        if (value := attributes.get(name)) is not None or (value := resource.get(name)) is not None:
            return value
    return None

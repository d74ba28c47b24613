"""The kind of operation that a span describes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from monitor.ingest.otlp.spans import Attributes, Span
from monitor.spec.traces import SpanKind

_OPERATIONS: Final[Mapping[str, SpanKind]] = {
    "chat": "llm", "generate_content": "llm", "text_completion": "llm", "completion": "llm", "responses": "llm",
    "fine_tune": "other", "invoke_agent": "agent", "create_agent": "agent", "invoke_workflow": "chain",
    "execute_tool": "tool", "embeddings": "embedding", "retrieval": "retriever", "rerank": "reranker",
}  # fmt: skip
# Words of an operation that the table lacks, such as LiteLLM's `aembedding` or `call_mcp_tool`; the first that fits.
_WORDS: Final[tuple[tuple[str, SpanKind], ...]] = (
    ("embed", "embedding"), ("rerank", "reranker"), ("moderat", "guardrail"), ("guard", "guardrail"),
    ("vector_store", "retriever"), ("retriev", "retriever"), ("agent", "agent"), ("tool", "tool"),
    ("workflow", "chain"), ("evaluat", "evaluator"), ("chat", "llm"), ("completion", "llm"),
    ("fine_tun", "other"), ("batch", "other"), ("file", "other"),
    ("cache", "other"),
)  # fmt: skip
_KINDS: Final[Mapping[str, SpanKind]] = {
    "LLM": "llm", "AGENT": "agent", "TOOL": "tool", "CHAIN": "chain", "RETRIEVER": "retriever", "RERANKER": "reranker",
    "EMBEDDING": "embedding", "GUARDRAIL": "guardrail", "EVALUATOR": "evaluator",
    "WORKFLOW": "chain", "TASK": "chain",  # OpenLLMetry
    "CHAT_MODEL": "llm", "GENERATION": "llm", "PARSER": "chain",  # MLflow, Langfuse
}  # fmt: skip
_NAMED: Final = ("openinference.span.kind", "traceloop.span.kind", "mlflow.spanType", "langfuse.observation.type")
_OPERATION: Final = ("gen_ai.operation.name", "llm.request.type")
_MODEL: Final = ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "llm.response.model_name")
# What a client of HTTP, a cache or a database, and what guards and retries calls say of themselves.
_TRANSPORT: Final = (
    "http.", "url.", "db.", "rpc.", "cache.", "redis.", "messaging.", "net.", "retry.", "guard.", "guardrail.",
    "guardrails.", "ratelimit.", "faas.", "aws.", "peer.",
)  # fmt: skip
# Among these, what a call says of its own request: the status of a refusal, the id of a guard that the provider runs.
_OF_THE_CALL: Final = ("http.response.", "http.status", "net.peer.", "aws.")
_METHOD: Final = ("http.request.method", "http.method", "db.system", "db.system.name")
_TRANSPORT_NAME: Final = re.compile(
    r"(?:HTTPS? )?(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)(?![a-zA-Z_-])|(?:get|post|put|patch|delete)\Z"
    r"|.*(?<![a-z])(?i:https?|cache|caching|redis|memcached?|retry|retries|attempt|guard|guardrails?|rate.?limit(?:er)?|dns|tcp"
    r"|tls|connect)(?![a-z])",
    re.DOTALL,
)
# What only the call itself knows.
_EVIDENCE: Final = (
    "gen_ai.usage.", "gen_ai.response.finish", "gen_ai.response.id", "gen_ai.input.", "gen_ai.output.",
    "gen_ai.prompt", "gen_ai.completion", "llm.input_messages", "llm.output_messages", "llm.token_count", "llm.usage",
)  # fmt: skip
_GEN_AI: Final = ("gen_ai.", "llm.", "openinference.", "traceloop.", "ai.", "mlflow.", "langfuse.", "embedding.")


def kind_of(span: Span) -> SpanKind:
    """Return the kind of operation that a span describes; an operation with an unknown name is a call of a model."""
    if span.kind is None:
        span.kind = _kind(span.attributes, span.name)
    return span.kind


def says_gen_ai(span: Span) -> bool:
    """Whether a span has an attribute of a convention for generative AI."""
    return any(name.startswith(_GEN_AI) for name in span.attributes)


def is_carrier(span: Span) -> bool:
    """Whether a span names a model and is no call of it: an HTTP client, a cache, a guard or a retry."""
    return kind_of(span) == "other" and any(name in span.attributes for name in _MODEL)


def _kind(attributes: Attributes, name: str) -> SpanKind:
    for key in _NAMED:
        named = attributes.get(key)
        if isinstance(named, str) and (kind := _KINDS.get(named.upper())) is not None:
            return kind
    operation = next((found for key in _OPERATION if isinstance(found := attributes.get(key), str) and found), None)
    if operation is not None:
        kind = _of_operation(operation)
        return "other" if kind == "llm" and _is_request(attributes, name, operation) else kind
    if any(attributes.get(key) for key in _NAMED):
        return "llm" if _has_model(attributes) and _has_evidence(attributes) else "other"
    if not _has_model(attributes):
        return "other"
    carries = _TRANSPORT_NAME.match(name) is not None or _has_transport(attributes)
    return "other" if carries and not _has_evidence(attributes) else "llm"


def _of_operation(operation: str) -> SpanKind:
    operation = operation.lower()
    if (known := _OPERATIONS.get(operation)) is not None:
        return known
    return next((kind for word, kind in _WORDS if word in operation), "llm")


def _is_request(attributes: Attributes, name: str, operation: str) -> bool:
    """Whether a span is the HTTP request, or the query of a cache, on which a call's attributes were copied."""
    if _TRANSPORT_NAME.match(name) is not None:
        return _has_transport(attributes) and not _has_evidence(attributes)
    if not any(attributes.get(key) for key in _METHOD) or name.lower().startswith(operation.lower()):
        return False  # a call is named by its operation
    return not _has_evidence(attributes)


def _has_transport(attributes: Mapping[str, Any]) -> bool:
    return any(key.startswith(_TRANSPORT) and not key.startswith(_OF_THE_CALL) for key in attributes)


def _has_model(attributes: Mapping[str, Any]) -> bool:
    return any(attributes.get(name) is not None for name in _MODEL)


def _has_evidence(attributes: Mapping[str, Any]) -> bool:
    return any(name.startswith(_EVIDENCE) for name in attributes)

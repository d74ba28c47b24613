"""The span fields that a mapping may name, and the attributes in which instrumentations record them.

Sources: OpenTelemetry semantic conventions for generative AI (the current names first, then those of 1.36 and before),
OpenInference, OpenLLMetry, LiteLLM, pydantic-ai, Langfuse. The first attribute that holds a value counts.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from monitor.ingest.otlp.conversation import answer_text, question_text
from monitor.ingest.otlp.kinds import kind_of
from monitor.ingest.otlp.spans import Span

Getter = Callable[[Span], Any]
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CLASS: Final = re.compile(r"<class '([\w.]+)'>")  # of Python, where its name was meant
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")  # before a capital, as in `toolUse`
_FLAT_REASON: Final = re.compile(r"gen_ai\.completion\.\d+\.finish_reason", re.ASCII)

ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "model": (
        "gen_ai.response.model", "llm.response.model_name", "gen_ai.request.model", "llm.model_name",
        "llm.request.model_name", "embedding.model_name", "reranker.model_name", "langfuse.observation.model.name",
    ),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "input_tokens": (
        "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read", "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cached_tokens", "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.cached_tokens", "gen_ai.usage.cached_input_tokens",
        "gen_ai.usage.input_tokens_details.cached_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens", "gen_ai.usage.input_token_details.cache_read",
        "gen_ai.usage.input_tokens.cached", "llm.usage.cache_read_input_tokens", "llm.usage.cached_tokens",
        "llm.token_count.prompt_details.cached", "llm.usage.prompt_tokens_details.cached_tokens",
        "gen_ai.usage.details.cached_content_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning", "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.output_tokens_details.reasoning_tokens",
        "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        "gen_ai.usage.output_token_details.reasoning", "gen_ai.usage.output_tokens.reasoning",
        "gen_ai.usage.reasoning_output_tokens", "llm.usage.reasoning_tokens",
        "llm.usage.completion_tokens_details.reasoning_tokens", "gen_ai.usage.details.thoughts_tokens",
        "gen_ai.usage.thoughts_tokens",
    ),
    "temperature": ("gen_ai.request.temperature", "llm.request.temperature"),
    "agent": ("gen_ai.agent.name", "agent.name"),
    "tool": ("gen_ai.tool.name", "tool.name", "tool_call.function.name"),
    "session": ("session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id"),
    "user": ("user.id", "enduser.id", "traceloop.association.properties.user_id"),
    "operation": ("gen_ai.operation.name", "llm.request.type", "openinference.span.kind"),
    "service_version": ("service.version",),
    "embedding": ("embedding.embeddings.0.embedding.vector",),  # of the first embedded text
}  # fmt: skip
_COST: Final = (
    "llm.cost.total", "gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total_cost", "gen_ai.cost.total",
    "gen_ai.usage.cost.total", "gen_ai.usage.cost_usd", "gen_ai.cost", "gen_ai.cost.amount", "operation.cost",
    "llm.usage.cost", "llm.usage.total_cost", "llm.cost", "gen_ai.response.cost", "litellm.response_cost",
)  # fmt: skip
_COST_PARTS: Final = (
    ("llm.cost.prompt", "llm.cost.completion"), ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost"),
    ("gen_ai.cost.input_cost", "gen_ai.cost.output_cost"), ("gen_ai.cost.input", "gen_ai.cost.output"),
)  # fmt: skip
_TOTAL_TOKENS: Final = (
    "gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "gen_ai.usage.details.total_tokens",
)  # fmt: skip
_FINISH_REASONS: Final = (
    "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason",
    "llm.response.finish_reason", "llm.response.stop_reason",
)  # fmt: skip
# One spelling for what providers call differently.
_ONE_SPELLING: Final[Mapping[str, str]] = {
    "tool_call": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls", "function_calls": "tool_calls",
    "end_turn": "stop", "stop_sequence": "stop", "eos": "stop", "eos_token": "stop", "complete": "stop",
    "completed": "stop", "max_tokens": "length", "max_output_tokens": "length", "token_limit": "length",
    "content_filtered": "content_filter", "safety": "content_filter",
}  # fmt: skip


def _reader(names: Sequence[str]) -> Getter:
    """Return a function that reads the first of these attributes that holds a value; a span's before its resource's."""

    def read(span: Span) -> Any:
        attributes, resource = span.attributes, span.resource
        for name in names:
            if (value := attributes.get(name)) is None:
                value = resource.get(name)
            if value is not None and (type(value) is not str or value.strip()):  # an empty text is no value
                return value
        return None

    return read


_read_tokens: Final = (_reader(ATTRIBUTES["input_tokens"]), _reader(ATTRIBUTES["output_tokens"]))
_read_total_tokens: Final = _reader(_TOTAL_TOKENS)
_read_cost: Final = _reader(_COST)
_read_cost_parts: Final = [[_reader((name,)) for name in parts] for parts in _COST_PARTS]
_read_finish_reason: Final = _reader(_FINISH_REASONS)


def _latency_ms(span: Span) -> float | None:
    """Return the duration, or None if the span has no end or ends before it starts."""
    return (span.end - span.start) / 1e6 if 0 < span.start <= span.end else None


def _first_token_ms(span: Span) -> Any:
    for name in ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"):
        if (value := span.attributes.get(name)) is not None:
            seconds = number_of(value)
            return value if seconds is None else seconds * 1000
    return None


def _total_tokens(span: Span) -> Any:
    if (total := _read_total_tokens(span)) is not None:
        return total
    return _sum(span, _read_tokens)


def _cost_usd(span: Span) -> Any:
    if (total := _read_cost(span)) is not None:
        return total
    sums = (_sum(span, parts) for parts in _read_cost_parts)
    return next((total for total in sums if total is not None), None)


def _sum(span: Span, parts: Iterable[Getter]) -> Any:
    """Add numbers; None where one is missing, and a part itself where it is no number, so that it is refused."""
    found = [read(span) for read in parts]
    if None in found:
        return None
    numbers = [number_of(part) for part in found]
    return sum(numbers) if None not in numbers else found[numbers.index(None)]


def number_of(value: Any) -> float | int | None:
    """Return a number, or the number that a text consists of; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return None


def _finish_reason(span: Span) -> Any:
    """Return why the first answer ended, in one spelling."""
    value = _read_finish_reason(span)
    if value is None:
        value = _finish_reason_of_messages(span)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = value.strip("[] \t'\"").partition(",")[0].strip("' \"")
    if isinstance(value, list):
        value = next((one for one in value if one), None)
    if not isinstance(value, str):
        return value
    plain = value.strip().rpartition(".")[2]  # of an enumeration: `FinishReason.STOP`
    plain = _CAMEL.sub("_", plain).replace("-", "_").lower().removeprefix("finish_reason_")
    return _ONE_SPELLING.get(plain, plain) or None


def _finish_reason_of_messages(span: Span) -> Any:
    number = next((k for k in span.attributes if _FLAT_REASON.fullmatch(k)), None)
    if number is not None:
        return span.attributes[number]
    found: Any = span.attributes.get("gen_ai.output.messages")
    for name, attributes in span.events:
        if name == "gen_ai.choice" and "finish_reason" in attributes:
            return attributes["finish_reason"]
        if found is None:
            found = attributes.get("gen_ai.output.messages")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    first = found[0] if isinstance(found, list) and found else None
    return first.get("finish_reason") if isinstance(first, dict) else None


def is_failed(span: Span) -> bool:
    """Whether a span has the status of an error, or says which error it ended with."""
    return span.failed or bool(span.attributes.get("error.type"))


def _error(span: Span) -> Any:
    if (kind := span.attributes.get("error.type")) is not None:
        of_class = _CLASS.fullmatch(kind) if isinstance(kind, str) else None
        return of_class[1] if of_class else kind
    found = [event.get("exception.type") for name, event in span.events if name == "exception"]
    return found[-1] if found else None


COMPUTED: Final[Mapping[str, Getter]] = {
    "input": question_text,
    "output": answer_text,
    "latency_ms": _latency_ms,
    "first_token_ms": _first_token_ms,
    "total_tokens": _total_tokens,
    "finish_reason": _finish_reason,
    "cost_usd": _cost_usd,
    "status": lambda span: "error" if is_failed(span) else "ok",
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
    steps = list(_steps(sources))
    if len(steps) == 1:
        return steps[0]

    def first(span: Span) -> Any:
        for step in steps:
            if (value := step(span)) is not None:
                return value
        return None

    return first


def _steps(sources: Sequence[str]) -> Iterator[Getter]:
    for computed, group in groupby(sources, COMPUTED.get):
        if computed is not None:
            yield computed
        else:  # attributes that follow each other are looked for together
            yield _reader([name for source in group for name in ATTRIBUTES.get(source, (source,))])

"""Extract the question and the answer of a span from the formats in which instrumentations record messages.

OpenTelemetry: `gen_ai.input.messages` (structured or JSON), before version 1.37 the attributes `gen_ai.prompt` and
`gen_ai.completion`, events of those names or `gen_ai.user.message` and `gen_ai.choice`. OpenInference: flattened
`llm.input_messages.N.message.content`. OpenLLMetry: `gen_ai.prompt.N.content`. Otherwise `input.value` and
`output.value`; where these hold the JSON of a request or a response, the messages in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.otlp.documents import messages_in
from monitor.ingest.otlp.flattened import flattened_messages
from monitor.ingest.otlp.messages import MESSAGE_KEYS, calls_of, is_silent, role_of, text_of
from monitor.ingest.otlp.spans import Span, as_text


@dataclass(frozen=True)
class _Side:
    """The places where one side of the conversation may be recorded; the first that holds something counts."""

    role: str
    messages: tuple[str, ...]  # attributes that hold messages, structured or as JSON
    flattened: tuple[str, ...]  # prefixes of flattened lists
    events: Mapping[str, tuple[str, ...]]  # span events, with the attributes that hold the text
    whole: tuple[str, ...]  # attributes that may hold a whole request or response as JSON
    plain: tuple[str, ...]  # other attributes that hold the text
    asked: bool  # take the last of several messages (True) or the first (False)


_QUESTION: Final = _Side(
    role="user",
    messages=("gen_ai.input.messages",),
    flattened=("llm.input_messages", "gen_ai.prompt", "llm.prompts"),
    events={
        "gen_ai.client.inference.operation.details": ("gen_ai.input.messages",),
        "gen_ai.user.message": ("content", "gen_ai.event.content"),
        "gen_ai.content.prompt": ("gen_ai.prompt",),
    },
    whole=("embedding.embeddings.0.embedding.text", "gen_ai.prompt", "input.value"),
    plain=(
        "gen_ai.tool.call.arguments", "tool.parameters", "traceloop.entity.input", "reranker.query",
    ),
    asked=True,
)  # fmt: skip
_ANSWER: Final = _Side(
    role="assistant",
    messages=("gen_ai.output.messages",),
    flattened=("llm.output_messages", "gen_ai.completion", "llm.choices"),
    events={
        "gen_ai.client.inference.operation.details": ("gen_ai.output.messages",),
        "gen_ai.choice": ("message", "content", "gen_ai.event.content"),
        "gen_ai.content.completion": ("gen_ai.completion",),
    },
    whole=("gen_ai.completion", "output.value"),
    plain=("gen_ai.tool.call.result", "traceloop.entity.output"),
    asked=False,
)


def question_text(span: Span) -> str | None:
    """Return the text of the last user message, or the mark of its image, recording or file."""
    return said(span)[0]


def answer_text(span: Span) -> str | None:
    """Return the text of the first answer, or its message as JSON if it only calls a tool."""
    return said(span)[1]


def said(span: Span) -> tuple[str | None, str | None]:
    """Return `question_text` and `answer_text`."""
    if span.said is None:
        span.said = (_text(span, _QUESTION), _text(span, _ANSWER))
    return span.said


def _text(span: Span, side: _Side) -> str | None:
    attributes = span.attributes
    for name in side.messages:
        if (value := attributes.get(name)) is not None:
            text = _of_value(value, side)
            if text is not None or side.asked:  # LiteLLM flattens the call of a tool beside an answer without parts
                return text
    flat = flattened_messages(span)
    for prefix in side.flattened if flat else ():
        # Where no message says who spoke, a text that stands beside them is the better answer to what was said.
        if prefix in flat and (any(m["role"] for m in flat[prefix]) or attributes.keys().isdisjoint(side.whole)):
            return _chosen(flat[prefix], side)
    if span.events and (found := _of_events(span, side)):
        return found[-1 if side.asked else 0]
    for name in side.whole:
        if (value := attributes.get(name)) is not None:
            if isinstance(value, str) and not value.startswith(("{", "[")):  # no document, mostly
                return value if value.strip() else None
            found_in = messages_in(value, asked=side.asked)
            return _of_value(value, side) if found_in is None else _chosen(found_in, side)
    for name in side.plain:
        if (value := attributes.get(name)) is not None:
            return as_text(value)
    return None


def _of_events(span: Span, side: _Side) -> list[str | None]:
    return [
        _of_value(attributes[name], side)
        for event, attributes in span.events
        for name in side.events.get(event, ())
        if attributes.get(name) is not None
    ]


def _of_value(value: Any, side: _Side) -> str | None:
    """Return the text of messages given as a list or as JSON; any other value is the text itself."""
    read = value
    if isinstance(value, str):
        if not value.strip():
            return None
        if not value.startswith(("[", '{"role"', '{"content"', '{"parts"', '{"tool_calls"')):
            return value
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
    messages = read if isinstance(read, list) else [read]
    if not messages:
        return None
    if all(isinstance(m, dict) and m.keys() & {"type"} and not m.keys() & {"role", "parts"} for m in messages):
        messages = [{"content": messages}]  # the parts of one message
    if not all(isinstance(m, dict) and m.keys() & (MESSAGE_KEYS | {"tool_calls"}) for m in messages):
        return as_text(value)
    return _chosen(messages, side)


def _chosen(messages: Sequence[Mapping[str, Any]], side: _Side) -> str | None:
    """Return the text of the message that counts: the last turn of the user, the first answer that says something.

    Messages without a role count where none has the right one; a prompt of instructions alone is the question.
    """
    of_role: dict[str | None, list[Mapping[str, Any]]] = {}
    for message in messages:
        of_role.setdefault(role_of(message), []).append(message)
    own = of_role.get(side.role) or of_role.get(None)
    if side.asked:
        turns = [m for m in own or of_role.get("system", []) if not is_silent(m)]
        return text_of(turns[-1]) if turns else None
    own = own or []
    said = next((text for m in own if (text := text_of(m))), None)
    return said or next((as_text(m) for m in own if calls_of(m)), None)

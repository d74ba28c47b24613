"""Extract the question and the answer of a span from the formats in which instrumentations record messages.

OpenTelemetry: `gen_ai.input.messages` (structured or JSON), before version 1.37 the attributes `gen_ai.prompt` and
`gen_ai.completion`, events of those names or `gen_ai.user.message` and `gen_ai.choice`. OpenInference: flattened
`llm.input_messages.N.message.content`. OpenLLMetry: `gen_ai.prompt.N.content`. Otherwise `input.value` and
`output.value`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.otlp.spans import Attributes, Span, as_text

_MAX_MESSAGES: Final = 1000  # messages of one conversation that are read


@dataclass(frozen=True)
class _Side:
    """The places where one side of the conversation may be recorded; the first that holds something counts."""

    role: str
    messages: tuple[str, ...]  # attributes that hold messages, structured or as JSON
    flattened: tuple[tuple[str, str], ...]  # prefix, and the text between the index and `role` or `content`
    events: Mapping[str, tuple[str, ...]]  # span events, with the attributes that hold the text
    plain: tuple[str, ...]
    last: bool  # take the last of several messages (True) or the first (False)


_QUESTION: Final = _Side(
    role="user",
    messages=("gen_ai.input.messages",),
    flattened=(("llm.input_messages", "message."), ("gen_ai.prompt", "")),
    events={
        "gen_ai.client.inference.operation.details": ("gen_ai.input.messages",),
        "gen_ai.user.message": ("content", "gen_ai.event.content"),
        "gen_ai.content.prompt": ("gen_ai.prompt",),
    },
    plain=(
        "gen_ai.prompt", "input.value", "gen_ai.tool.call.arguments", "tool.parameters", "traceloop.entity.input",
    ),
    last=True,
)  # fmt: skip
_ANSWER: Final = _Side(
    role="assistant",
    messages=("gen_ai.output.messages",),
    flattened=(("llm.output_messages", "message."), ("gen_ai.completion", "")),
    events={
        "gen_ai.client.inference.operation.details": ("gen_ai.output.messages",),
        "gen_ai.choice": ("message", "content", "gen_ai.event.content"),
        "gen_ai.content.completion": ("gen_ai.completion",),
    },
    plain=("gen_ai.completion", "output.value", "gen_ai.tool.call.result", "traceloop.entity.output"),
    last=False,
)


def question_text(span: Span) -> str | None:
    """Return the text of the last user message."""
    return _text(span, _QUESTION)


def answer_text(span: Span) -> str | None:
    """Return the text of the answer, or its message as JSON if it has no text, such as a tool call."""
    return _text(span, _ANSWER)


def _text(span: Span, side: _Side) -> str | None:
    attributes = span.attributes
    for name in side.messages:
        if (value := attributes.get(name)) is not None:
            return _of_messages(value, side)
    for prefix, between in side.flattened:
        if f"{prefix}.0.{between}role" in attributes or f"{prefix}.0.{between}content" in attributes:
            return _chosen(list(_unflattened(attributes, prefix, between)), side)
    if span.events and (found := _of_events(span, side)) is not None:
        return found
    for name in side.plain:
        if (value := attributes.get(name)) is not None:
            return _of_messages(value, side)
    return None


def _of_events(span: Span, side: _Side) -> str | None:
    found = [
        _of_messages(attributes[name], side)
        for event, attributes in span.events
        for name in side.events.get(event, ())
        if attributes.get(name) is not None
    ]
    return None if not found else found[-1 if side.last else 0]


def _of_messages(value: Any, side: _Side) -> str:
    """Return the text of messages given as a list or as JSON; any other value is the text itself."""
    read = value
    if isinstance(value, str):
        if not value.startswith(("[{", '{"role"', '{"content"')):
            return value
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
    messages = read if isinstance(read, list) else [read]
    if not messages or not all(isinstance(m, dict) and m.keys() & {"role", "parts", "content"} for m in messages):
        return as_text(value)
    return _chosen(messages, side) or as_text(value)


def _chosen(messages: Sequence[Mapping[str, Any]], side: _Side) -> str | None:
    """Return the text of the chosen message; prefers messages of the right role, then messages with text."""
    if not messages:
        return None
    own = [m for m in messages if m.get("role") == side.role] or list(messages)
    texts = [text for m in own if (text := _content(m))]
    if texts:
        return texts[-1 if side.last else 0]
    return as_text(own[-1 if side.last else 0])


def _content(message: Mapping[str, Any]) -> str | None:
    content = message.get("parts", message.get("content"))
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [part.get("content", part.get("text")) for part in parts if part.get("type", "text") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str)) or None


def _unflattened(attributes: Attributes, prefix: str, between: str) -> Iterator[dict[str, Any]]:
    for i in range(_MAX_MESSAGES):
        start = f"{prefix}.{i}.{between}"
        content = attributes.get(f"{start}content")
        role = attributes.get(f"{start}role")
        if content is None and role is None:
            return
        if content is None:
            content = list(_parts(attributes, f"{start}contents."))
        message = {"role": role, "content": content}
        calls = {k.removeprefix(start): v for k, v in attributes.items() if k.startswith(f"{start}tool_calls.")}
        yield message | ({"tool_calls": calls} if calls and not content else {})


def _parts(attributes: Attributes, start: str) -> Iterator[dict[str, Any]]:
    for i in range(_MAX_MESSAGES):
        kind = attributes.get(f"{start}{i}.message_content.type")
        text = attributes.get(f"{start}{i}.message_content.text")
        if kind is None and text is None:
            return
        yield {"type": kind or "text", "text": text}

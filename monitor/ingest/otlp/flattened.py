"""Messages that are flattened into attributes: `llm.input_messages.N.message.content`, `gen_ai.prompt.N.content`.

The numbers may start at any value and have holes; they give the order.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from monitor.ingest.otlp.spans import Span

# The lists, and what stands between the number and a field of the message.
_BETWEEN: Final = {
    "llm.input_messages": "message.", "llm.output_messages": "message.", "gen_ai.prompt": "", "gen_ai.completion": "",
    "llm.prompts": "prompt.", "llm.choices": "completion.",
}  # fmt: skip
_KEY: Final = re.compile(rf"({'|'.join(map(re.escape, _BETWEEN))})\.([0-9]{{1,9}})\.(.+)", re.DOTALL)
_NUMBERED: Final = re.compile(r"\.[0-9]")  # in every name that `_KEY` matches
_NONE: Final[Mapping[str, list[dict[str, Any]]]] = {}
_CONTENT: Final = "message_content."


def flattened_messages(span: Span) -> Mapping[str, list[dict[str, Any]]]:
    """Return the messages of each flattened list that a span has, in the order of their numbers; by prefix."""
    if span.flattened is None:
        span.flattened = _read(span)
    return span.flattened


def _read(span: Span) -> Mapping[str, list[dict[str, Any]]]:
    if _NUMBERED.search("\n".join(span.attributes)) is None:  # faster than a look at each name
        return _NONE
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in span.attributes.items():
        if (match := _KEY.fullmatch(key)) is not None:
            prefix, number, rest = match.groups()
            if rest.startswith(between := _BETWEEN[prefix]):
                of_list = found.setdefault(prefix, {})
                of_list.setdefault(int(number), {})[rest[len(between) :]] = value
    return {prefix: [_message(fields[n]) for n in sorted(fields)] for prefix, fields in found.items()}


def _message(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Build a message from the fields `role`, `content`, `contents.N.message_content.*` and `tool_calls.N.*`."""
    message: dict[str, Any] = {"role": fields.get("role")}
    parts: dict[int, dict[str, Any]] = {}
    calls: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith("contents."):
            number, _, rest = name[len("contents.") :].partition(".")
            if number.isascii() and number.isdigit() and len(number) < 10:
                parts.setdefault(int(number), {})[rest.removeprefix(_CONTENT)] = value
        elif name.startswith(("tool_calls.", "function_call")):
            calls[name] = value
    content = fields.get("content", fields.get("text"))
    if parts and not (isinstance(content, str) and content.strip()):
        content = [_part(parts[n]) for n in sorted(parts)]
    message["content"] = content
    if calls:
        message["tool_calls"] = calls
    if (of_call := fields.get("tool_call_id")) is not None:
        message["tool_call_id"] = of_call
    return message


def _part(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "type" not in fields and "text" not in fields and fields:  # a picture without a type: `image.image.url`
        return {"type": next(iter(fields)).partition(".")[0]}
    return {"type": fields.get("type") or "text", "text": fields.get("text")}

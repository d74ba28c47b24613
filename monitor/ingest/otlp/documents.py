"""The messages within a request or a response that an instrumentation recorded whole, as JSON.

Providers' clients: OpenAI (chat, responses, completions), Anthropic, Gemini, Bedrock; frameworks: LangChain, LiteLLM.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from monitor.ingest.otlp.messages import MESSAGE_KEYS

Messages = list[Mapping[str, Any]]

# Keys that say: this is the document of a request or a response, not something that a person wrote.
_REQUEST_KEYS: Final = ("messages", "input", "contents", "prompt", "prompts", "inputs", "request", "kwargs")
_RESPONSE_KEYS: Final = (
    "choices", "output", "generations", "candidates", "content", "message", "messages", "completion", "outputs",
    "response",
)  # fmt: skip
# One of these is enough to know the document of a request or a response; beside `model`, any other key is.
_MARKS: Final = frozenset({
    "messages", "choices", "generations", "candidates", "contents", "prompts", "lc", "llm_output", "object",
})  # fmt: skip
_MAX_DEPTH: Final = 6


def messages_in(value: Any, *, asked: bool) -> Messages | None:
    """Return the messages of a request (asked) or a response; None if the value is no such document.

    A document whose messages are in no known shape gives an empty list: it is never a text itself.
    """
    if isinstance(value, str):
        if not value.startswith(("{", "[")):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict) and not _is_document(value, asked=asked):
        return None
    if isinstance(value, list) and not _are_messages(value):
        return None
    return list(_found(value, _REQUEST_KEYS if asked else _RESPONSE_KEYS, 0))


def _found(value: Any, keys: Sequence[str], depth: int) -> Iterable[Mapping[str, Any]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        yield {"content": value}
    elif isinstance(value, list):
        for inner in value:
            yield from _found(inner, keys, depth + 1)
    elif isinstance(value, dict):
        if _is_message(value):
            yield value
        elif isinstance(inner := value.get("message"), dict):  # a choice, or a generation of LangChain
            yield inner if _is_message(inner) else {"content": value.get("text")}
        elif isinstance(text := value.get("text"), str):
            yield {"content": text}
        else:
            inner = next((value[key] for key in keys if value.get(key)), None)
            if inner is not None:
                yield from _found(inner, keys, depth + 1)


def _is_document(value: Mapping[str, Any], *, asked: bool) -> bool:
    if value.keys() & _MARKS or _is_message(value) or ("model" in value and len(value) > 1):
        return True
    if asked:
        return False
    if "error" in value or (isinstance(message := value.get("message"), dict) and _is_message(message)):
        return True
    return isinstance(value.get("output"), list) and "id" in value


def _is_message(value: Mapping[str, Any]) -> bool:
    if "role" in value and value.keys() & {"content", "parts", "tool_calls"}:
        return True
    if isinstance(value.get("parts"), list) or value.get("type") == "function_call":
        return True
    if value.get("type") in ("message", "human", "ai", "system", "tool"):
        return "content" in value
    return isinstance(value.get("kwargs"), dict) and "content" in value["kwargs"]


def _are_messages(value: Sequence[Any]) -> bool:
    flat = [inner for one in value for inner in (one if isinstance(one, list) else [one])]
    return bool(flat) and all(isinstance(one, dict) and one.keys() & MESSAGE_KEYS for one in flat)

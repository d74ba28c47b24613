"""The text of one message of a conversation, in the shapes in which providers and instrumentations write messages.

A message is a map with a `role` and its content: text, or a list of parts. An image, a recording or a file among the
parts is named by a mark such as `[image]`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

MESSAGE_KEYS: Final = frozenset({"role", "parts", "content", "kwargs"})
_ROLES: Final = {
    "human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "chatbot": "assistant",
    "developer": "system", "function": "tool", "tool_result": "tool",
}  # fmt: skip
_TEXT_KEYS: Final = ("content", "text", "refusal")
_MEDIA: Final = ("image", "audio", "video", "file", "document")
_MEDIA_NAMES: Final = {"document": "file", "speech": "audio", "pdf": "file", "application": "file", "text": "file"}
# Parts that are no part of what was said: steps of the model, calls of tools and their results.
_SILENT: Final = ("reasoning", "thinking", "redacted_thinking", "tool", "function_call", "custom_tool")
_MAX_DEPTH: Final = 4  # of maps around a message, as LangChain writes them


def role_of(message: Mapping[str, Any]) -> str | None:
    """Who speaks: user, assistant, system, tool or another name; None if the message does not say."""
    role = message.get("role")
    if role is None and isinstance(kwargs := message.get("kwargs"), dict):  # LangChain's constructor form
        named = message.get("id")
        of_class = str(named[-1]) if isinstance(named, list) and named else ""
        role = kwargs.get("type") or kwargs.get("role") or of_class.removesuffix("Chunk").removesuffix("Message")
    if role is None and "content" in message:
        role = message.get("type") if message.get("type") in ("human", "ai", "system", "tool") else None
    if not isinstance(role, str) or role.lower() in ("", "unknown"):
        return None
    role = role.lower()
    return _ROLES.get(role, role)


def text_of(message: Mapping[str, Any], depth: int = 0) -> str | None:
    """Return what a message says, or the marks of its media if it says nothing; None if it holds neither."""
    if isinstance(kwargs := message.get("kwargs"), dict) and depth < _MAX_DEPTH:
        return text_of(kwargs, depth + 1)
    content = message.get("parts", message.get("content"))
    if isinstance(content, str):
        if not content.startswith('[{"type"'):
            return content if content.strip() else _refusal(message)
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            return message["content"] if isinstance(message.get("content"), str) else None
    if isinstance(content, dict):
        content = content.get("parts", [content])
    if not isinstance(content, list):
        return _refusal(message)
    said = [text for part in content if (text := _part_text(part))]
    if said:
        return "\n".join(said)
    media = list(dict.fromkeys(mark for part in content if isinstance(part, dict) and (mark := _medium(part))))
    return " ".join(media) or _refusal(message)


def is_silent(message: Mapping[str, Any]) -> bool:
    """Whether all parts of a message are steps and results of tools: nobody's turn."""
    if message.get("tool_call_id"):
        return True
    content = message.get("parts", message.get("content"))
    if not isinstance(content, list) or not content:
        return False
    return all(isinstance(part, dict) and str(part.get("type", "")).startswith(_SILENT) for part in content)


def calls_of(message: Mapping[str, Any]) -> bool:
    """Whether a message asks for a tool."""
    if message.get("tool_calls") or message.get("function_call") or message.get("type") == "function_call":
        return True
    if isinstance(kwargs := message.get("kwargs"), dict):
        return bool(kwargs.get("tool_calls"))
    content = message.get("parts", message.get("content"))
    return isinstance(content, list) and any(_is_call(part) for part in content)


def _is_call(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    return kind in ("tool_call", "tool_use", "function_call") or bool(part.keys() & {"functionCall", "function_call"})


def _refusal(message: Mapping[str, Any]) -> str | None:
    text = message.get("refusal")
    return text if isinstance(text, str) and text.strip() else None


def _part_text(part: Any) -> str | None:
    if isinstance(part, str):
        return part if part.strip() else None
    if not isinstance(part, dict):
        return None
    kind = part.get("type", "text")
    if kind not in ("text", "input_text", "output_text", "refusal") or part.get("modality"):
        return None
    found = next((part[key] for key in _TEXT_KEYS if isinstance(part.get(key), str)), None)
    return found if found and found.strip() else None


def _medium(part: Mapping[str, Any]) -> str | None:
    """Return the mark of an image, a recording or a file; None for every other part."""
    kind = str(part.get("type") or "")
    if kind.startswith(_SILENT):
        return None
    for said in _media_words(part, kind):
        for medium in _MEDIA:
            if medium in said:
                return f"[{_MEDIA_NAMES.get(medium, medium)}]"
        if (named := _MEDIA_NAMES.get(said.partition("/")[0])) is not None and "/" in said:
            return f"[{named}]"
    return "[file]" if kind in ("blob", "uri") else None


def _media_words(part: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Where a part may say what it is, the most reliable first."""
    for name in ("modality", "mime_type", "media_type"):
        if isinstance(said := part.get(name), str):
            yield said.lower()
    for inner in part.values():
        if isinstance(inner, dict):
            for name in ("mime_type", "mimeType", "media_type"):
                if isinstance(said := inner.get(name), str):
                    yield said.lower()
    yield kind.lower()
    if not kind:
        yield from (str(key).lower() for key in part)

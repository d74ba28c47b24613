"""A conversation that an input column holds: a JSON list of messages, as applications and trace libraries write it.

Read are `[{"role": "user", "content": "..."}, ...]`, the same under the key `messages`, content as a list of text
parts, and `parts` as `gen_ai.input.messages` has them. Any other text is the single message of a user.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.otlp.messages import is_silent, role_of, text_of

ROLES: Final = ("system", "user", "assistant", "tool")
_MEANT: Final = re.compile(r'\s*(\{\s*"messages"\s*:\s*)?\[\s*\{.*"role"\s*:', re.DOTALL)
_KEPT: Final = ("tool_calls", "tool_call_id", "name")  # what a template shows of tools

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a row teaches nothing; no words of its texts."""

    reason: str


def read_conversation(text: str) -> list[Message] | Dropped:
    """The messages of a text, each with `role` and `content`; what is no conversation is the message of a user.

    It must end where an answer is due: with a turn of the user, or the result of a tool.
    """
    found = _messages_of(text)
    if found is None:
        if _MEANT.match(text):
            return Dropped("the conversation is no whole JSON")
        return [{"role": "user", "content": text}]
    if not found:
        return Dropped("the conversation is empty")
    read = []
    for message in found:
        one = _read(message)
        if isinstance(one, Dropped):
            return one
        read.append(one)
    if read[-1]["role"] == "assistant":
        return Dropped("the last turn is the assistant's, so no answer is due")
    if read[-1]["role"] == "system":
        return Dropped("no turn of the user is answered")
    return read


def _messages_of(text: str) -> list[Any] | None:
    """The list of messages that a text is the JSON of; None where it is none."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = found.get("messages")
    if not isinstance(found, list):
        return None
    if found and not any(isinstance(one, dict) and "role" in one for one in found):
        return None  # a list of something else
    return found


def _read(message: Any) -> Message | Dropped:
    if not isinstance(message, Mapping):
        return Dropped("a message is no JSON object")
    role = role_of(message)
    if role not in ROLES:
        return Dropped("a message has an unknown role" if message.get("role") else "a message has no role")
    parts = message.get("parts", message.get("content"))
    if isinstance(parts, list) and not all(_is_text(part) for part in parts):
        return Dropped("a message holds more than text")
    if is_silent(message) and not message.get("tool_call_id"):
        return Dropped("a message holds more than text")
    content = text_of(message)
    calls = {name: message[name] for name in _KEPT if message.get(name)}
    if (content is None or not content.strip()) and "tool_calls" not in calls:
        return Dropped("a message has no text")
    return {"role": role, "content": content or "", **calls}


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (
        isinstance(part, Mapping) and part.get("type", "text") in ("text", "input_text", "output_text")
    )

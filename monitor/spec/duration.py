"""Durations as a spec writes them, such as `1d` or `30m`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from monitor.spec.base import Written

_SPAN = re.compile(r"(\d+)\s*(s|m|h|d)")
_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """The duration that a text such as `30m`, `24h` or `7d` means.

    Raises:
        ValueError: the text has another form, or the duration is 0.
    """
    match = _SPAN.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration; write a whole number above 0 and s, m, h or d, such as `24h`")
    return timedelta(**{_UNIT[match[2]]: int(match[1])})


def _span_text(text: str) -> str:
    duration(text)
    return text


Duration = Annotated[
    str,
    AfterValidator(_span_text),
    Written("duration", "24h"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+\s*[smhd]\s*$"}),
]

"""Durations as a spec writes them, such as `1d` or `30m`."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema

from monitor.spec.base import Written, is_new

LONGEST: Final = timedelta(days=36_525)  # a hundred years
_SPAN = re.compile(r"([0-9]{1,15})\s*(s|m|h|d)")
_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """The duration that a text such as `30m`, `24h` or `7d` means.

    Raises:
        ValueError: the text has another form, or the duration is 0 or too long to count with.
    """
    match = _SPAN.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise ValueError(
            f"{text[:60]!r} is not a duration; write a whole number above 0 and s, m, h or d, such as `24h`"
        )
    try:
        return timedelta(**{_UNIT[match[2]]: int(match[1])})
    except OverflowError as error:
        raise ValueError(_too_long(text)) from error


def check_length(text: str) -> None:
    """Refuse a duration with which no time can be counted.

    Raises:
        ValueError: it is longer than a hundred years.
    """
    if duration(text) > LONGEST:
        raise ValueError(_too_long(text))


def _too_long(text: str) -> str:
    return f"{text[:60]!r} is too long; write at most {LONGEST.days}d, a hundred years"


def _span_text(text: str, info: ValidationInfo) -> str:
    duration(text)
    if is_new(info):
        check_length(text)
    return text


Duration = Annotated[
    str,
    AfterValidator(_span_text),
    Written("duration", "24h"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+\s*[smhd]\s*$"}),
]

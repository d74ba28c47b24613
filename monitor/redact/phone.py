"""Telephone numbers with a country code, or written in the groups that are usual in North America and Europe.

A bare run of digits is no find, because it is an order number as often as a telephone number.
"""

from typing import Final

from monitor.redact.base import Pattern, TextSpan, digits

_INTERNATIONAL = r"(?:\+|\b00)[ ]?[1-9](?:[ .\-/]?(?:\(\d{1,4}\)|\d)){5,16}"
_NORTH_AMERICAN = r"(?:\b1[ .-])?(?:\([2-9]\d{2}\)[ .-]?|\b[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}\b"
_TRUNK = r"(?:\(0[1-9]\d{0,3}\)|\b0[1-9]\d{0,3})[ /-]\d{3,4}(?:[ -]?\d{2,4}){1,3}\b"


def spans(candidate: str) -> tuple[TextSpan, ...]:
    """A number of 9 to 15 digits, the longest E.164 allows (7 where it has its country code)."""
    count = len(digits(candidate)) - (2 if candidate.startswith("00") else 0)
    least = 7 if candidate.startswith(("+", "00")) else 9
    return ((0, len(candidate)),) if least <= count <= 15 else ()


def normal(find: str) -> str:
    number = digits(find)
    return number[2:] if find.startswith("00") else number


PATTERN: Final = Pattern(
    name="phone",
    hint=r"[+(\d][\d .()/\-]{6}",
    pattern=f"{_INTERNATIONAL}|{_NORTH_AMERICAN}|{_TRUNK}",
    spans=spans,
    normal=normal,
)

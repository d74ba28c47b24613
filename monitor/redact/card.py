"""Payment card numbers: a known issuer prefix, its length, and the check digit (ISO/IEC 7812)."""

import re
from typing import Final

from monitor.redact.base import Pattern, TextSpan, digits

# Prefixes and lengths of the card networks, as their acquirers publish them.
_NETWORKS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|09|[689]\d)\d{11}(?:\d{2,5})?"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d{2}|62\d{2}|35\d{2})\d{12,15}"  # Discover, UnionPay, JCB
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
)
_GROUP: Final = re.compile(r"\d+")


def luhn(number: str) -> bool:
    """Whether the last digit is the check digit of the others.

    Args:
        number: ASCII digits.

    Returns:
        True if the Luhn sum is a multiple of 10.

    Source: ISO/IEC 7812-1, annex B.
    """
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    total = sum(int(d) for d in number[-1::-2]) + sum(doubled[int(d)] for d in number[-2::-2])
    return total % 10 == 0


def spans(candidate: str) -> tuple[TextSpan, ...]:
    """Card numbers within groups of digits, the longest first. Other digits may precede and follow a number."""
    groups = [m.span() for m in _GROUP.finditer(candidate)]
    first, found = 0, []
    while first < len(groups):
        for last in range(len(groups) - 1, first - 1, -1):
            start, end = groups[first][0], groups[last][1]
            number = digits(candidate[start:end])
            if 12 <= len(number) <= 19 and _NETWORKS.fullmatch(number) and luhn(number):
                found.append((start, end))
                first = last
                break
        first += 1
    return tuple(found)


PATTERN: Final = Pattern(
    name="card",
    hint=r"\d(?:[ -]?\d){11}",
    pattern=r"\b\d{3,19}(?:[ -]\d{2,19}){0,7}(?:[ -]\d{1,3})?\b",
    spans=spans,
    normal=digits,
)

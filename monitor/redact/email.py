"""E-mail addresses in any script (RFC 6531), without quoted local parts."""

from typing import Final

from monitor.redact.base import Pattern, TextSpan


def spans(candidate: str) -> tuple[TextSpan, ...]:
    """The address in a candidate, without the full stops, apostrophes and hyphens before it."""
    start = len(candidate) - len(candidate.lstrip(".'-"))
    local, _, domain = candidate[start:].rpartition("@")
    return ((start, len(candidate)),) if local and len(local) <= 64 and len(domain) <= 253 else ()


PATTERN: Final = Pattern(
    name="email",
    hint="@",
    pattern=r"[\pL\pN._%+'-]+@(?:[\pL\pN](?:[\pL\pN-]{0,61}[\pL\pN])?\.)+[\pL][\pL\pN-]{0,61}[\pL\pN]",
    spans=spans,
    normal=str.casefold,
)

"""E-mail addresses, also of other scripts (RFC 6531), without quoted local parts."""

from typing import Final

from monitor.redact.base import Pattern, Span


def spans(candidate: str) -> tuple[Span, ...]:
    """An address; full stops that end a sentence or stand in a row are no part of one."""
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

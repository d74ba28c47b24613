"""International bank account numbers: a country, its length, and the check digits (ISO 13616, ISO 7064 MOD 97-10)."""

import re
from itertools import islice
from typing import Final

from monitor.redact.base import Pattern, TextSpan

# Length by country. Source: SWIFT IBAN Registry.
LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
_ALNUM: Final = re.compile(r"[A-Za-z0-9]")
_START: Final = re.compile(r"\b[A-Za-z]{2}[0-9]{2}")


def mod97(iban: str) -> int:
    """The remainder modulo 97; 1 if the check digits are right.

    Args:
        iban: upper-case letters and digits, without spaces.

    Returns:
        Remainder, 0..96.

    Source: ISO 7064 MOD 97-10, with A = 10 and so on, and the first four characters moved to the end.
    """
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97


def spans(candidate: str) -> tuple[TextSpan, ...]:
    """Account numbers in a candidate, which may include words before and after a number."""
    found: list[TextSpan] = []
    for start in (m.start() for m in _START.finditer(candidate)):
        end = _end(candidate, start)
        if end is not None and (not found or start >= found[-1][1]):
            found.append((start, end))
    return tuple(found)


def _end(candidate: str, start: int) -> int | None:
    length = LENGTHS.get(candidate[start : start + 2].upper())
    places = [start + m.start() for m in islice(_ALNUM.finditer(candidate[start:]), length or 0)]
    if length is None or len(places) < length:
        return None
    end = places[-1] + 1
    if candidate[end : end + 1].isalnum():
        return None
    return end if mod97(normal(candidate[start:end])) == 1 else None


def normal(find: str) -> str:
    return "".join(_ALNUM.findall(find)).upper()


PATTERN: Final = Pattern(
    name="iban",
    hint=r"[A-Za-z]{2}[0-9]{2}[ ]?[A-Za-z0-9]{4}",
    pattern=r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,70}",
    spans=spans,
    normal=normal,
)

"""What a pattern of the catalogue is: where to search, what counts as a find, and when two finds are the same value."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

# What replaces a find, and the digest that is stored in place of a subject.
MARKER: Final = re.compile(r"(\[[a-z][a-z0-9_]{0,31}:[0-9a-f]{12}\]|\[subject:[0-9a-f]{64}\])")

TextSpan = tuple[int, int]


@dataclass(frozen=True)
class Pattern:
    """One entry of the catalogue: personal data or a secret that has a recognisable form.

    Attributes:
        name: the kind in the marker that replaces a find.
        hint: a quick regular expression that every text with a find matches; texts that do not match are skipped.
        pattern: a regular expression for candidates. Both use the syntax of Rust's regex crate, whose time is linear in
            the length of the text.
        spans: the finds within a candidate, as (start, end) of its characters, in order and without overlap; empty if
            the candidate is no find.
        normal: the value of a find in one spelling, so that two spellings of one value get the same marker.
    """

    name: str
    hint: str
    pattern: str
    spans: Callable[[str], Sequence[TextSpan]]
    normal: Callable[[str], str]


def digits(text: str) -> str:
    """The decimal digits of a text, of any script, as ASCII."""
    return "".join(str(int(c)) for c in text if c.isdecimal())

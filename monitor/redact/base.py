"""What a pattern of the catalogue is: where to look, what to take for a find, and when two finds are the same value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True)
class Pattern:
    """Personal data or a secret that has a form.

    Attributes:
        name: the kind in the marker that replaces a find.
        hint: a regular expression that every text with a find matches, quick to try; the others are not looked at.
        pattern: candidates. Both are in the syntax of Rust's regex crate, whose time is linear in the text.
        spans: the finds within a candidate, as (start, end) of its characters, in order and apart; none if it is no
            find after all.
        normal: the value behind a find: spellings of one value come out alike.
    """

    name: str
    hint: str
    pattern: str
    spans: Callable[[str], Sequence[Span]]
    normal: Callable[[str], str]


def digits(text: str) -> str:
    """The decimal digits, of whatever script, as ASCII."""
    return "".join(str(int(c)) for c in text if c.isdecimal())

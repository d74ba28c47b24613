"""Texts with the terms of declared pairs swapped: whole words, both ways, the case kept."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

# Scripts that put no space between words: there a term is found wherever its characters stand.
_WITHOUT_SPACES: Final = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True, slots=True)
class Swap:
    """Pairs of terms as one rule that changes a text once, whatever is swapped for what."""

    pattern: re.Pattern[str]
    into: Mapping[str, str]  # by the term in lower case
    declared: Mapping[str, str]  # the term as it was declared, by the same

    @classmethod
    def of(cls, pairs: Sequence[Sequence[str]]) -> Self:
        """The rule of some pairs.

        A term may stand second in several pairs, as `her` does beside `his` and `him`; it is then swapped for the first
        term of the first such pair.

        Args:
            pairs: two different terms each, of one or more words.

        Raises:
            ValueError: an empty term, a pair of equal terms, or a term that would be swapped for two others.
        """
        into, declared = dict[str, str](), dict[str, str]()
        for first, second in pairs:
            one, other = (" ".join(unicodedata.normalize("NFC", term).split()) for term in (first, second))
            if not one or not other:
                raise ValueError(f"has the pair [{first!r}, {second!r}] with an empty term; write two terms")
            if one.lower() == other.lower():
                raise ValueError(f"has the pair [{first!r}, {second!r}] of one term; write two different ones")
            if one.lower() in into:
                raise ValueError(f"swaps {one!r} for {into[one.lower()]!r} and for {other!r}; leave one of them out")
            into[one.lower()], declared[one.lower()] = other, one
            if other.lower() not in into:
                into[other.lower()], declared[other.lower()] = one, other
        firsts = {" ".join(unicodedata.normalize("NFC", a).split()).lower() for a, _ in pairs}
        for _, second in pairs:
            other = " ".join(unicodedata.normalize("NFC", second).split()).lower()
            if other in firsts:
                raise ValueError(f"has {second!r} first in one pair and second in another; leave one of them out")
        terms = sorted(into, key=lambda term: (-len(term), term))
        return cls(re.compile("|".join(map(_whole, terms)), re.IGNORECASE), into, declared)

    def __call__(self, text: str) -> str | None:
        """The text with every term swapped; None where it has none.

        Args:
            text: any; it is composed (NFC) first, so that a term is found however its letters are stored.
        """
        composed = unicodedata.normalize("NFC", text)
        found, count = self.pattern.subn(self._replaced, composed)
        return found if count and found != composed else None

    def direction(self, text: str) -> str:
        """What is swapped for what in a text: `he to she`, or that several terms are."""
        composed = unicodedata.normalize("NFC", text)
        found = {" ".join(met.group(0).lower().split()) for met in self.pattern.finditer(composed)}
        known = sorted(found & set(self.into))
        if len(known) != 1:
            return "several terms" if known else "none"
        return f"{self.declared[known[0]]} to {self.into[known[0]]}"

    def _replaced(self, match: re.Match[str]) -> str:
        met = match.group(0)
        key = " ".join(met.lower().split())
        if key not in self.into:  # letters whose lower case is not that of the term, such as a dotted capital I
            return met
        other = self.into[key]
        if met == self.declared[key]:
            return other
        if met.isupper() and sum(map(str.isalpha, met)) > 1:
            return other.upper()
        if met.islower():
            return other.lower()
        return other[:1].upper() + other[1:] if met[:1].isupper() else other


def _whole(term: str) -> str:
    """The pattern of a term as whole words, with any white space between them."""
    before = r"(?<!\w)" if _parted(term[0]) else ""
    after = r"(?!\w)" if _parted(term[-1]) else ""
    return before + r"\s+".join(map(re.escape, term.split())) + after


def _parted(character: str) -> bool:
    """Whether a character belongs to words that are parted from others."""
    if not (character.isalnum() or character == "_"):
        return False
    return not unicodedata.name(character, "").startswith(_WITHOUT_SPACES)

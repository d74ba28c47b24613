"""Texts as people also write them: with typing errors, in other case, with other white space, in a polite phrase.

The changes keep what a text means, draw from its own digest and need no model, so that they are the same everywhere.
"""

import hashlib
import random
from collections.abc import Callable
from typing import Final

TYPO_EVERY: Final = 6  # words
PHRASES: Final = (
    "hello, {}", "{} please", "hi there, {} thanks", "i have a question: {}", "could you help me? {}", "{} thank you",
)  # fmt: skip


def typos(text: str, draw: random.Random) -> str:
    """One letter swapped with the next, left out or doubled, in one of six words, at least in one."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3]
    for i in draw.sample(long, min(len(long), max(1, len(words) // TYPO_EVERY))):
        word, at = words[i], draw.randrange(1, len(words[i]) - 1)
        kind = draw.randrange(3)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[i] = (swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:])[kind]
    return " ".join(words)


def case(text: str, draw: random.Random) -> str:
    return draw.choice((str.upper, str.lower, str.title))(text)


def spaces(text: str, draw: random.Random) -> str:
    """White space in front, behind and twice between words."""
    return draw.choice(("", " ", "\n")) + text.replace(" ", "  ") + draw.choice((" ", "\n", "\t"))


def phrase(text: str, draw: random.Random) -> str:
    return draw.choice(PHRASES).format(text)


CHANGES: Final[dict[str, Callable[[str, random.Random], str]]] = {
    "typos": typos, "case": case, "spaces": spaces, "phrase": phrase,
}  # fmt: skip


def changed(text: str, kind: str, seed: int = 0) -> str:
    """The text changed in one way; the same text, kind and seed give the same."""
    key = hashlib.blake2b(f"{seed}:{kind}:{text}".encode(), digest_size=8).digest()
    return CHANGES[kind](text, random.Random(int.from_bytes(key)))  # noqa: S311 - nothing secret is drawn

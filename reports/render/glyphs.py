"""What the fonts of the print can show. What they cannot is shown by its number, and so is what could deceive a reader.

The fonts are those of `reports.render.fonts`; `coverage.json` lists their characters, made from the fonts by

    python -m reports.render.fonts > reports/render/coverage.json
"""

import json
import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Final

COVERAGE: Final = Path(__file__).with_name("coverage.json")
MAX_NAMED: Final = 8  # characters of a run that are shown by their numbers; of a longer one only how many they are
_ASCII: Final = re.compile("[\\t\\n -~]*")
_JOINERS: Final = "\u200c\u200d\ufe0e\ufe0f"  # part of the spelling of some scripts and of emoji, between their letters
MAX_MARKS: Final = 6  # on one letter; real spellings need fewer, and a pile of them covers the lines around it


class Shown:
    """Texts as a print shows them.

    Args:
        lacking: characters that are shown by number although the fonts seem to have them.
        plain: whether everything beyond ASCII is shown by number.
    """

    def __init__(self, lacking: Collection[str] = (), *, plain: bool = False) -> None:
        self._lacking, self._plain = frozenset(lacking), plain

    def text(self, text: str) -> str:
        """The text, with what cannot be shown as in `[U+1F600]`."""
        if _ASCII.fullmatch(text):
            return text
        out: list[str] = []
        run: list[str] = []
        marks, before = 0, " "
        for character in text:
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            if self._shows(character, before) and marks <= MAX_MARKS:
                out.append(_named(run) + character)
                run = []
            else:
                run.append(character)
            before = character
        return "".join(out) + _named(run)

    def _shows(self, character: str, before: str) -> bool:
        if " " <= character <= "~" or character in "\t\n":
            return True
        if self._plain or character in self._lacking:
            return False
        if character in _JOINERS:
            return before > "\u00a0" and unicodedata.category(before)[0] in "LMSN"
        return ord(character) in covered() and not deceives(character)


def _named(run: list[str]) -> str:
    if len(run) > MAX_NAMED:
        return f"[{len(run)} characters that this print cannot show, whole in report.json]"
    return "".join(f"[U+{ord(c):04X}]" for c in run)


def deceives(character: str) -> bool:
    """Whether a character is no part of a text that a reader sees: controls, marks that turn the direction of what
    follows, and characters without any width.
    """
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@lru_cache(maxsize=1)
def covered() -> frozenset[int]:
    """Code points for which the fonts have a glyph."""
    ranges = json.loads(COVERAGE.read_bytes())["ranges"]
    return frozenset(point for first, last in ranges for point in range(first, last + 1))


def unmasked(text: str) -> str:
    """A text for a reader who has fonts of every script: what is not seen, or turns the direction, is named."""
    if _ASCII.fullmatch(text):
        return text
    out = []
    before = " "
    for character in text:
        joins = character in _JOINERS and before > "\u00a0" and unicodedata.category(before)[0] in "LMSN"
        seen = character in "\t\n" or joins or not deceives(character)
        out.append(character if seen else f"[U+{ord(character):04X}]")
        before = character
    return "".join(out)

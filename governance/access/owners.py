"""Whose key it is: the owner that is declared with it, and when two spellings name one person. Pure."""

import unicodedata
from typing import Final

from core.errors import InvalidError
from core.text import unfit
from governance.ledger.append import SYSTEM_ACTOR

MAX_LENGTH: Final = 200
_SCRIPTS: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN")  # scripts with letters that look like those of another
_ACCENTS: Final = range(0x300, 0x370)
_SAME: Final = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "ı": "i"})


def read_owner(text: str) -> str:
    """The owner as it is kept: spaces tidied, composed.

    Raises:
        InvalidError: it names nobody, is too long, or could be taken for another owner.
    """
    if reason := unfit(text):
        raise InvalidError(f"owner {reason}", field="owner", value=text[:MAX_LENGTH])
    kept = " ".join(unicodedata.normalize("NFC", text).split())
    if not kept or len(kept) > MAX_LENGTH or not any(c.isalnum() for c in kept):
        raise InvalidError(
            f"owner is {text[:60]!r}; give the person who holds the key: a name, an address or a staff number of 1 to "
            f"{MAX_LENGTH} characters",
            field="owner", value=text[:MAX_LENGTH],
        )  # fmt: skip
    if person(kept) == SYSTEM_ACTOR:
        raise InvalidError(
            f"owner is {kept!r}, which stands for the service itself; give a person", field="owner", value=kept
        )
    for word in kept.split():
        scripts = sorted({s for c in word if c.isalpha() for s in _SCRIPTS if unicodedata.name(c, "").startswith(s)})
        if len(scripts) > 1:
            raise InvalidError(
                f"owner {kept!r} mixes {' and '.join(s.title() for s in scripts)} letters in {word!r}, which look "
                "alike; write it with the letters of one script",
                field="owner", value=kept,
            )  # fmt: skip
    return kept


def person(owner: str) -> str:
    """The person whom an owner's spelling names: equal for spellings that differ in case, spaces, accents or form.

    Two people who share a spelling need one that tells them apart, such as an address: to take two for one asks for
    another approval, to take one for two would let a person approve twice.
    """
    plain = unicodedata.normalize("NFKD", owner.translate(_SAME)).casefold()
    plain = unicodedata.normalize("NFKD", plain.translate(_SAME))
    return "".join(
        "-" if unicodedata.category(c) == "Pd" else c
        for c in plain
        if ord(c) not in _ACCENTS and not c.isspace() and unicodedata.category(c) not in ("Cf", "Cc")
    )

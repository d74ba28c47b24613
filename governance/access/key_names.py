"""What a key may be called: its name is the actor of ledger entries, so it must be seen whole and be like no other.

Letters that look alike follow Unicode's list of confusables for what people type; scripts that nobody uses today, many
of which imitate Latin, are refused as UAX 31 recommends. Pure.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

from core.errors import InvalidError
from core.text import unfit
from governance.ledger.append import SYSTEM_ACTOR

MAX_LENGTH: Final = 100
# The service itself, under any of its parts.
RESERVED: Final = (SYSTEM_ACTOR, "scheduler", "system", "worker", "policy")
_PERSON: Final = "person:"
# Scripts in everyday use (UAX 31, table 5), by the first word of the names of their letters.
_SCRIPTS: Final = frozenset({
    "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "THAANA", "DEVANAGARI", "BENGALI", "GURMUKHI",
    "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "THAI", "LAO", "TIBETAN", "MYANMAR",
    "GEORGIAN", "HANGUL", "ETHIOPIC", "KHMER", "HIRAGANA", "KATAKANA", "BOPOMOFO", "CJK",
})  # fmt: skip
_WRITTEN_TOGETHER: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "LATIN"})
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # blank, and of no category that says so
_SEPARATORS: Final = str.maketrans("", "", "-_.·")
_QUOTES: Final = str.maketrans("\u2018\u2019\u02bc`\u00b4", "'''''")
_SMALL_CAPITALS: Final = str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡı", "abcdefghijklmnoprstuvwyzagi")
_CAPITALS: Final = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԌԚԜӀΑΒΕΖΗΙΚΜΝΟΡΤΥΧՕՍԼ",
    "ABESIJKMHOPCTYXYGQWlABEZHIKMNOPTYXOUL",
)  # fmt: skip
_SMALL: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝӏкмтνορικυχτεγαսօոհցզք01|",
    "aeopcyxijshdqwlkmtvopikuxteyauonhgqpol" + "l",
)  # fmt: skip


def read_name(text: str, taken: Iterable[str]) -> str:
    """The name as it is kept: composed, spaces tidied.

    Raises:
        InvalidError: it is empty or too long, holds what cannot be seen, stands for the service, or looks like a name
            in `taken`.
    """
    shown = text[:MAX_LENGTH]
    if reason := unfit(text) or _unseen(text):
        raise InvalidError(f"name {reason}", field="name", value=shown)
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= MAX_LENGTH or not any(c.isalnum() for c in name):
        raise InvalidError(
            f"name {shown!r} must have 1 to {MAX_LENGTH} characters, one a letter or digit", field="name"
        )
    if reason := _scripts(name):
        raise InvalidError(f"name {name!r} {reason}", field="name", value=name)
    looks = skeletons(name)
    if any(look.translate(_SEPARATORS) in RESERVED for look in looks):
        raise InvalidError(
            f"name {name!r} is or looks like one that stands for the service itself ({', '.join(RESERVED)}); choose "
            "another name",
            field="name", value=name,
        )  # fmt: skip
    if any(look.startswith(_PERSON) for look in looks):
        raise InvalidError(
            f"name {name!r} begins as people do in the ledger; choose one that does not begin with {_PERSON!r}",
            field="name", value=name,
        )  # fmt: skip
    if like := next((other for other in taken if other != name and looks & skeletons(other)), None):
        raise InvalidError(
            f"name {name!r} looks like {like!r}, which is or was the name of a key; choose one that is told apart",
            field="name", value=name,
        )  # fmt: skip
    return name


def skeletons(name: str) -> frozenset[str]:
    """What a name looks like: two names that share one are taken for each other. A capital I is also read as l."""
    return frozenset(_skeleton(spelt) for spelt in (name, name.replace("I", "l")))


def _skeleton(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).translate(_CAPITALS).casefold()
    plain = unicodedata.normalize("NFKD", plain).translate(_SMALL).translate(_SMALL_CAPITALS)
    return "".join(
        "-" if unicodedata.category(c) == "Pd" or c == "\u2212" else c
        for c in plain.translate(_QUOTES)
        if unicodedata.category(c)[0] not in "MZC"
    )


def _unseen(text: str) -> str | None:
    for c in text:
        kind = unicodedata.category(c)
        variant = 0xFE00 <= ord(c) <= 0xFE0F or 0xE0100 <= ord(c) <= 0xE01EF or 0x180B <= ord(c) <= 0x180F
        if kind in ("Cf", "Cc", "Co", "Cn", "Zl", "Zp") or c in _UNSEEN or variant:
            return f"contains U+{ord(c):04X}, which cannot be seen or turns what stands beside it; leave it out"
    return None


def _scripts(name: str) -> str | None:
    """What is wrong with the letters, as the rest of a sentence."""
    for word in name.split():
        plain = unicodedata.normalize("NFKC", word)
        found = {unicodedata.name(c, "?").split()[0].partition("-")[0] for c in plain if c.isalpha()}
        if rare := sorted(found - _SCRIPTS):
            return f"has letters ({rare[0].title()}) of a script that names are not written in today; use another"
        if len(found) > 1 and not found <= _WRITTEN_TOGETHER:
            mixed = " and ".join(s.title() for s in sorted(found))
            return f"mixes {mixed} letters in {word!r}, some of which look alike; write it with those of one script"
    return None

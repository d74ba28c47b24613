"""Which characters a stored text may have: one rule for every place where a text comes in, on every database.

PostgreSQL takes no NUL and no database takes half of a surrogate pair; a control character in a name reaches terminals,
documents and addresses later on. Tabs and line breaks lay a text out and stay.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def unfit(text: str) -> str | None:
    """Why a text cannot be stored, as the rest of a sentence that begins with its name; None if it can."""
    if text.isprintable():  # the usual case, at C speed
        return None
    if found := CONTROL.search(text):
        return f"contains the control character U+{ord(found[0]):04X}; leave it out"
    if SURROGATE.search(text):
        return "contains half of a surrogate pair, which is not valid text"
    return None


def whole_characters(text: str) -> str:
    """The text with U+FFFD in place of each half of a surrogate pair: JavaScript cuts texts in the middle of a pair."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


def texts_of(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text within a value of JSON with the name of its place, keys included."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if isinstance(key, str):
                yield name, key
            yield from texts_of(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for at, part in enumerate(value):
            yield from texts_of(part, f"{name}[{at}]")

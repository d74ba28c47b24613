"""The value of a declared type that a JSON value stands for: the rules of `monitor.ingest.typed_columns`, by value."""

import json
import math
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Final

from core.text import unfit
from monitor.levels import bool_level, level, number_level
from monitor.spec.columns import ColumnType

# Values that name something, and that databases, pages and messages repeat; a written language is kept as it is.
NAMES: Final[frozenset[ColumnType]] = frozenset({"category", "string"})
MAX_TEXTS: Final = 100  # references of one event; a KPI compares each of them
_WANTED: Final[Mapping[ColumnType, str]] = {
    "number": "a number", "boolean": "true or false", "category": "a string, number or boolean",
    "string": "a string, number or boolean", "text": "a string, number or boolean",
    "texts": 'a list of texts; send a JSON list such as ["one", "another"], or one text',
}  # fmt: skip


class MisfitError(ValueError):
    """A JSON value that the declared type cannot hold; the text is the reason, without the column."""


def row_value(value: Any, kind: ColumnType) -> Any:
    """Convert a value, vectors aside; None where it is no value.

    Raises:
        MisfitError: the declared type cannot hold it.
    """
    if value is None:
        return None
    found = type(value)
    match kind:
        case "number":
            if found is int or found is float:
                return _finite(value)
        case "boolean":
            if found is bool:
                return value
            if found is int or found is float:
                if value in (0, 1):
                    return bool(value)
                if found is float and math.isnan(value):
                    return None
        case "texts":
            if found is not dict:
                return _list(value if found is list else [value])
        case _:
            if found is str:
                return _text(value, kind)
            if found is bool:
                return bool_level(value)
            if found is int or found is float:
                return None if (number := _finite(value, exact=True)) is None else number_level(number)
    several = ""
    if found is list and kind == "text":
        several = "; for lists of references declare an outcome of a new name and `type: texts`"
        if any(type(entry) is dict and "role" in entry for entry in value):
            several = "; send a conversation as one text, the JSON of its list of messages"
    raise MisfitError(f"{short(value)} is not {_WANTED[kind]}{several}")


def parsed_texts(text: str) -> Any:
    """A text of a file without lists, such as CSV: a JSON list of texts, or else the text as the only one."""
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if type(value) is list and all(type(entry) in (str, NoneType) for entry in value):
            return value
    return text


def _list(values: list[Any]) -> list[str] | None:
    """The texts of a list, without missing ones; None if none is left."""
    if len(values) > MAX_TEXTS:
        raise MisfitError(f"has {len(values)} texts; at most {MAX_TEXTS} references of one event are stored")
    texts = []
    for place, value in enumerate(values, start=1):
        if isinstance(value, list | dict):
            what = "a list" if isinstance(value, list) else "an object"
            raise MisfitError(f"entry {place} of the list is {what}: {short(value)}; send texts alone")
        try:
            texts.append(row_value(value, "text"))
        except MisfitError as error:
            where = f"entry {place} of the list: " if len(values) > 1 else ""
            raise MisfitError(where + str(error)) from None
    return dropped(texts)


def dropped(texts: Sequence[str | None] | None) -> list[str] | None:
    """The texts of a list without missing ones; None if none is left."""
    return [text for text in texts or () if text is not None] or None


def is_missing(value: Any, kind: ColumnType) -> bool:
    """Whether a value is none: null, NaN, or a category without a visible character."""
    try:
        return row_value(value, kind) is None
    except MisfitError:
        return False


def _finite(number: float, *, exact: bool = False) -> float | None:
    """A number that is neither infinite nor, unless it must stay `exact`, too large for a 64-bit float."""
    if isinstance(number, int):
        try:
            return number if exact else float(number)
        except OverflowError:
            raise MisfitError("the number is too large for a 64-bit float") from None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise MisfitError(f"{number} is not a finite number; leave the column out if there is no value")
    return number


def _text(text: str, kind: ColumnType) -> str | None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise MisfitError("contains half of a surrogate pair, which is not valid text") from None
    found = level(text) if kind == "category" else text
    if kind in NAMES and found is not None and (reason := unfit(found)):
        raise MisfitError(reason)
    return found


def short(value: Any) -> str:
    """Shorten a value to the form that a reason quotes."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = value if isinstance(value, str) else repr(value)
    text = text.encode(errors="replace").decode()
    return repr(text[:60] + "..." if len(text) > 60 else text) if isinstance(value, str) else text[:60]

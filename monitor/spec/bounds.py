"""How large a document may be, checked before anything of it is understood.

A text of 500 bytes can stand for billions of values, by aliases in YAML or by the digits of one number. Therefore
bytes, levels and values are counted first, as cheap as they are to count, and what is built afterwards is small.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.text import unfit
from monitor.spec.base import Key

MAX_BYTES: Final = 1 << 20
MAX_VALUES: Final = 25_000  # of a document, keys included, with every alias written out
MAX_LEVELS: Final = 32
MAX_COLUMNS: Final = 2_000
MAX_NAME_CHARS: Final = 256
MAX_TEXT_CHARS: Final = 10_000
MAX_DIGITS: Final = 400  # of a number as it is written; the longest float written out has 309 before its point
MAX_WHOLE_NUMBER: Final = 2**53  # as canonical JSON has it
MAX_PATTERNS: Final = 20  # regular expressions of the user's own; to compile one may take a tenth of a second
MAX_DIRECTIVES: Final = 100  # lines that begin with %; libyaml compares each with every one before it
# Of lists whose every entry is work: each is checked at once, and computed in every window.
MAX_ENTRIES: Final[Mapping[tuple[str, str], int]] = {
    ("monitors", "windows"): 20, ("monitors", "kpi"): 200, ("monitors", "fairness"): 200, ("retrain", "when"): 20,
}  # fmt: skip


class OutOfBoundsError(ValueError):
    """A document, or the value at `key`, is larger than it may be, or has characters that cannot be stored."""

    def __init__(self, reason: str, key: Key = ()) -> None:
        super().__init__(reason)
        self.reason, self.key = reason, key


def check_bytes(text: str | bytes) -> None:
    """
    Raises:
        OutOfBoundsError: the text is too long.
    """
    if len(text) > MAX_BYTES:
        raise OutOfBoundsError(f"larger than {MAX_BYTES >> 20} MiB; leave out what it does not need")


def check_directives(text: str) -> None:
    """
    Raises:
        OutOfBoundsError: the text has so many lines that may be directives that YAML's parser would take long.
    """
    if text.count("\n%") + text.count("\r%") > MAX_DIRECTIVES:
        raise OutOfBoundsError(f"out of bounds: more than {MAX_DIRECTIVES} lines begin with %; leave them out")


def too_deep() -> OutOfBoundsError:
    return OutOfBoundsError(f"nested too deeply; at most {MAX_LEVELS} levels may lie in one another")


def too_many() -> OutOfBoundsError:
    return OutOfBoundsError(f"too large: more than {MAX_VALUES} values, with every alias written out; leave some out")


def check_document(document: Any) -> None:
    """Check a document that was read: levels, number and size of its values, and the characters of its texts.

    Raises:
        OutOfBoundsError: with the key of the first value that does not fit.
    """
    for count, (key, value) in enumerate(_values(document)):
        if count > MAX_VALUES:
            raise too_many()
        if len(key) > MAX_LEVELS:
            raise too_deep()
        if isinstance(value, str) and (reason := _unfit(value, MAX_TEXT_CHARS)):
            raise OutOfBoundsError(reason, key)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_WHOLE_NUMBER:
            raise OutOfBoundsError("is a whole number beyond 2^53, which JSON cannot hold exactly; give a smaller", key)
        if isinstance(value, float) and not -float("inf") < value < float("inf"):
            raise OutOfBoundsError("is not a finite number; give one, or leave the key out", key)
        if isinstance(value, Mapping):
            for name in value:
                if isinstance(name, str) and (reason := _unfit(name, MAX_NAME_CHARS)):
                    raise OutOfBoundsError(f"has a key that {reason}", key)
    columns = _part(document, "columns")
    if isinstance(columns, Mapping) and len(columns) > MAX_COLUMNS:
        raise OutOfBoundsError(f"has {len(columns)} columns; declare at most {MAX_COLUMNS}", ("columns",))
    for (above, name), most in MAX_ENTRIES.items():
        entries = _part(_part(document, above), name)
        if isinstance(entries, list) and len(entries) > most:
            raise OutOfBoundsError(f"has {len(entries)} entries; give at most {most}", (above, name))
    patterns = {str(value) for key, value in _values(_part(document, "redact")) if key and key[-1] == "pattern"}
    if len(patterns) > MAX_PATTERNS:
        raise OutOfBoundsError(
            f"has {len(patterns)} patterns of your own; give at most {MAX_PATTERNS}, where one may hold several with |",
            ("redact",),
        )


def _part(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, Mapping) else None


def _unfit(text: str, most: int) -> str | None:
    if len(text) > most:
        return f"has {len(text)} characters; write at most {most}"
    return unfit(text)


def _values(document: Any) -> Iterator[tuple[Key, Any]]:
    """Every value with its key; what an alias repeats comes as often as it stands there."""
    waiting: list[tuple[Key, Any]] = [((), document)]
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, Mapping):
            waiting.extend(((*key, str(name)[:MAX_NAME_CHARS]), part) for name, part in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend(((*key, at), part) for at, part in enumerate(value))

"""Which label of a version an answer is, as it was stored: compared by what it means, and never replaced by another."""

from collections.abc import Sequence
from typing import Final
from unicodedata import normalize

from core.errors import InvalidError
from monitor.levels import level, other_truths

SHOWN: Final = 8  # labels in an error


class UnknownAnswerError(InvalidError):
    """The answer to explain is none that the version can give; another label is never explained in its place."""

    code = "unknown_answer"


def label_of(answer: str, labels: Sequence[str]) -> str:
    """The label that an answer is.

    Levels are compared (`True` is `true`, `1.0` is `1`), then truth values (1 is true where the version has no 1), then
    spellings: case, white space at the ends and width of letters, where exactly one label is left.

    Raises:
        UnknownAnswerError: no label is this answer, or several may be.
    """
    found = level(answer)
    if found is not None and found in labels:
        return found
    truths = other_truths(labels)
    if found in truths:
        return truths[found]
    alike = [label for label in labels if _plain(label) == _plain(answer)]
    if len(alike) == 1:
        return alike[0]
    known = ", ".join(repr(label) for label in labels[:SHOWN]) + (" ..." if len(labels) > SHOWN else "")
    why = f"may be any of {', '.join(alike)}" if alike else f"is none of its {len(labels)} labels ({known})"
    raise UnknownAnswerError(
        f"the answer {answer[:80]!r} {why}, so it cannot be explained with this version; explain it with the version "
        "that gave it",
        field="prediction", value=answer[:80],
    )  # fmt: skip


def _plain(text: str) -> str:
    return " ".join(normalize("NFKC", text).casefold().split())

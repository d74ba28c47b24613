"""Whether predictions and outcomes of a classifier are written in two vocabularies, so that no answer can be right.

A model that answers NEGATIVE and POSITIVE is right on none of the outcomes false and true, whatever it knows. That says
nothing about the model, so what compares the two is undefined. A model whose answers are only ever wrong, or that does
not know the classes that arrive, is no such case: its share of right answers is 0.
"""

import re
import unicodedata
from collections.abc import Iterable, Set
from typing import Final

import polars as pl

MAX_SHOWN: Final = 12  # labels of one side in a sentence
_NUMBERED: Final = re.compile(r"(?:label[ _-]?)?[0-9]+", re.IGNORECASE)
_TRUTH: Final = frozenset({"true", "false"})


def plain_label(label: str) -> str:
    """A label without what spellings differ in: case, compatibility forms, and kind and number of separators."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", label)).strip().casefold()


def shown_labels(labels: Iterable[str]) -> str:
    """Labels in order, the first MAX_SHOWN of them."""
    ordered = sorted(labels)
    more = f" and {len(ordered) - MAX_SHOWN} more" if len(ordered) > MAX_SHOWN else ""
    return ", ".join(ordered[:MAX_SHOWN]) + more


def two_vocabularies(frame: pl.DataFrame) -> str | None:
    """Why no prediction can equal an outcome; None where one does, or might.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,).
    """
    said, there = frame.get_column("prediction"), frame.get_column("outcome")
    if said.dtype == there.dtype == pl.String and (said == there).any():
        return None  # the usual case, without a list of all labels
    answered, right = (
        set(frame.get_column(name).drop_nulls().unique().cast(pl.String).to_list())
        for name in ("prediction", "outcome")
    )
    if not answered or not right or answered & right or not differ(answered, right):
        return None
    return (
        f"no label is shared: predictions are {shown_labels(answered)}; outcomes are {shown_labels(right)}; send both "
        "in one spelling"
    )


def differ(answered: Set[str], right: Set[str]) -> bool:
    """Whether two disjoint sets name classes in two ways: one in truth values or numbers, or both the same names."""
    if of_another_kind(answered, right):
        return True
    ours, theirs = ({plain_label(name) for name in side} for side in (answered, right))
    if ours & theirs:
        return True
    return min(len(ours), len(theirs)) > 1 and all(
        any(a.startswith(b) or b.startswith(a) for b in theirs) for a in ours
    )  # pos, neg


def of_another_kind(answered: Set[str], right: Set[str]) -> bool:
    """Whether all of one set are truth values, or class numbers, and none of the other is."""
    for written in (_TRUTH.__contains__, _numbered):
        sides = [{written(name) for name in side} for side in (answered, right)]
        if sides in ([{True}, {False}], [{False}, {True}]):
            return True
    return False


def _numbered(label: str) -> bool:
    return _NUMBERED.fullmatch(label) is not None

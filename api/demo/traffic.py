"""Messages for the demo: generated from phrases, or read from a file of labelled messages."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import polars as pl

from api.demo.phrases import CLOSERS, CONTEXTS, KNOWN, NEW, OPENERS, SHARED, SLOTS
from core.errors import InvalidError

INTENTS_KNOWN: Final = tuple(KNOWN)
INTENTS_NEW: Final = tuple(NEW)
SHARED_RATE: Final = 0.10  # of the messages of an intent that has a neighbour, those that could be either's
TYPO_RATE: Final = 0.3  # of the messages, those with at least one slip of the fingers

_T = TypeVar("_T")
_PHRASES: Final = {**KNOWN, **NEW}
_CHOICE: Final = re.compile(r"\(([^()]*)\)")
_SLOT: Final = re.compile(r"<(\w+)>")
_SPACES: Final = re.compile(r"\s+")


def generate(seed: int, n: int, intents: Iterable[str] = INTENTS_KNOWN) -> pl.DataFrame:
    """Labelled customer-service messages, the same for the same arguments on every machine.

    Args:
        seed: any integer >= 0; another seed gives other messages.
        n: rows; the intents share them evenly, to within one, in random order.
        intents: names from INTENTS_KNOWN and INTENTS_NEW.

    Returns:
        Columns `text` and `category`, both strings.

    Raises:
        InvalidError: an unknown intent, none at all, or a negative n.
    """
    names = list(dict.fromkeys(intents))
    if unknown := [name for name in names if name not in _PHRASES]:
        raise InvalidError(f"intents {unknown} are not among {', '.join(_PHRASES)}", field="intents", value=unknown)
    if not names or n < 0:
        raise InvalidError(f"generate needs intents and n >= 0; got {len(names)} intents, n={n}", field="n", value=n)
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    categories = [names[int(i) % len(names)] for i in order]
    return pl.DataFrame(
        {"text": [_message(category, random) for category in categories], "category": categories},
        schema={"text": pl.String, "category": pl.String},
    )


def labelled_file(path: Path) -> pl.DataFrame:
    """Labelled messages from a Parquet or CSV file with the columns `text` and `category`.

    Raises:
        InvalidError: no such file, another format, a missing column, an empty cell, or fewer than two categories.
    """
    if not path.is_file():
        raise InvalidError(f"no file {path}; give a Parquet or CSV file with columns text and category", field="path")
    if path.suffix.lower() not in {".parquet", ".csv"}:
        raise InvalidError(f"{path} ends in {path.suffix!r}; write .parquet or .csv", field="path", value=path.suffix)
    try:
        frame = pl.read_csv(path) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidError(f"{path} cannot be read as {path.suffix[1:]}: {error}", field="path") from error
    for column in ("text", "category"):
        if column not in frame.columns:
            raise InvalidError(
                f"{path} has no column {column}; it has {', '.join(frame.columns)}: rename one", field=column
            )
    frame = frame.select(pl.col("text", "category").cast(pl.String))
    for column in ("text", "category"):
        empty = frame[column].str.strip_chars().fill_null("").eq("").arg_true()
        if len(empty):
            raise InvalidError(
                f"{path}: row {int(empty[0]) + 1} has an empty {column} ({len(empty)} such rows); fill or drop them",
                field=column, value=len(empty),
            )  # fmt: skip
    if (found := frame["category"].n_unique()) < 2:
        raise InvalidError(
            f"{path} has {found} category; a classifier needs two or more", field="category", value=found
        )
    return frame


def _message(intent: str, random: np.random.Generator) -> str:
    phrases: tuple[str, ...] = _PHRASES[intent]
    shared = [texts for names, texts in SHARED if intent in names]
    if shared and random.random() < SHARED_RATE:
        phrases = _one(shared, random)
    parts = [_fill(_one(phrases, random), random)]
    if random.random() < 0.35:
        parts.append(_fill(_one(CONTEXTS, random), random))
    if len(parts) > 1 and random.random() < 0.4:
        parts.reverse()
    if random.random() < 0.4:
        parts.insert(0, _one(OPENERS, random))
    if random.random() < 0.35:
        parts.append(_one(CLOSERS, random))
    text = _one((", ", ". ", " - ", " "), random, p=(0.35, 0.4, 0.05, 0.2)).join(parts)
    return _hand(text, random)


def _fill(phrase: str, random: np.random.Generator) -> str:
    """Take one branch of every choice, innermost first, then fill the slots that are left."""
    while match := _CHOICE.search(phrase):
        phrase = phrase[: match.start()] + _one(match[1].split("|"), random) + phrase[match.end() :]
    while match := _SLOT.search(phrase):
        phrase = phrase[: match.start()] + _one(SLOTS[match[1]], random) + phrase[match.end() :]
    return _SPACES.sub(" ", phrase).strip()


def _hand(text: str, random: np.random.Generator) -> str:
    """What a hurried hand does to a sentence: case, end mark, slips."""
    if random.random() < TYPO_RATE:
        for _ in range(1 + int(random.integers(0, 2))):
            text = _slip(text, random)
    style = random.random()
    if style < 0.35:
        text = text.lower()
    elif style < 0.97:
        text = text[:1].upper() + text[1:]
    else:
        text = text.upper()
    return text + _one(("", "?", ".", "!", "??", "..."), random, p=(0.4, 0.25, 0.22, 0.06, 0.04, 0.03))


def _slip(text: str, random: np.random.Generator) -> str:
    """Drop, double or swap one letter inside a word."""
    places = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not places:
        return text
    at, kind = places[int(random.integers(len(places)))], int(random.integers(3))
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _one(values: Sequence[_T], random: np.random.Generator, p: tuple[float, ...] | None = None) -> _T:
    return values[int(random.choice(len(values), p=p))]

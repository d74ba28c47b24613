"""Evidence of drift in texts or vectors, from the raw rows: words that are new, and the rows farthest away."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.profile.clusters import readable_words, shared_words
from monitor.profile.coding import as_strings, derived_columns
from monitor.profile.reference_profile import ReferenceProfile
from monitor.profile.text_encoder import TextEncoder

MAX_ROWS: Final = 20_000  # of a window; a larger window is sampled
MAX_WORDS: Final = 20
MAX_EXAMPLES: Final = 10


@dataclass(frozen=True)
class NewWord:
    """A word that occurs in no text of the reference.

    Attributes:
        rows: texts of the window that use it.
        share: `rows` divided by the texts of the window that are not empty.
        shared: whether five different texts of five different people use it, so that it names nobody.
    """

    word: str
    rows: int
    share: float
    shared: bool


@dataclass(frozen=True)
class FarRow:
    """A row by its event id. Its values are looked up when it is shown, because the event may be erased by then."""

    event_id: str
    distance: float


@dataclass(frozen=True)
class Evidence:
    """Evidence in one column; `rows` counts the examined rows that have a text or vector."""

    column: str
    rows: int
    new_words: tuple[NewWord, ...]  # the most frequent first
    farthest: tuple[FarRow, ...]  # the farthest first, no text or vector twice


def evidence(
    reference: ReferenceProfile, window: pl.DataFrame, *, person: str | None = None, seed: int = 0
) -> list[Evidence]:
    """Words and rows behind an alarm, one entry for each text or vector column of the reference.

    Args:
        reference: the fitted reference.
        window: raw rows with `event_id` and the columns of the reference; more than 20,000 are sampled with the seed.
        person: column that names the person a row is about.
    """
    if window.height > MAX_ROWS:
        window = window.sample(MAX_ROWS, seed=seed)
    found = []
    for column in reference.coding.encoded:
        text, series = reference.coding.texts.get(column), window[column]
        derived, _ = derived_columns(series, text, reference.coding.vectors.get(column))
        distance = derived[f"{column}.distance"]
        words: tuple[NewWord, ...] = ()
        if text is not None:
            people = window[person].cast(pl.String).to_list() if person in window.columns else None
            words = _new_words(text, as_strings(series).to_list(), people)
        rows = int(np.isfinite(distance).sum())
        found.append(
            Evidence(
                column,
                rows,
                words,
                _farthest(window["event_id"], series if text is None else as_strings(series), distance),
            )
        )
    return found


def _new_words(
    encoder: TextEncoder, texts: Sequence[str | None], people: Sequence[str | None] | None
) -> tuple[NewWord, ...]:
    used: Counter[str] = Counter()
    for text in texts:
        used.update(readable_words(text or ""))
    new = [(word, rows) for word, rows in used.items() if not encoder.knows(word)]
    shared = shared_words(texts, people)
    filled = sum(bool(text and text.strip()) for text in texts)
    ranked = sorted(new, key=lambda found: (-found[1], found[0]))[:MAX_WORDS]
    return tuple(NewWord(word, rows, rows / filled, word in shared) for word, rows in ranked)


def _farthest(ids: pl.Series, values: pl.Series, distance: NDArray[np.float64]) -> tuple[FarRow, ...]:
    ranked = (
        pl.DataFrame([ids, values.alias("value")])
        .with_columns(pl.Series("distance", distance).fill_nan(None))
        .drop_nulls("distance")
        .sort("distance", "event_id", descending=[True, False])
        .head(MAX_ROWS // 10)
        .unique("value", keep="first", maintain_order=True)
        .head(MAX_EXAMPLES)
    )
    return tuple(FarRow(event, far) for event, far in ranked.select("event_id", "distance").iter_rows())

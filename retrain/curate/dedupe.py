"""Equal texts once: the latest row stays; texts that were labelled differently are counted."""

import unicodedata
from dataclasses import dataclass

import polars as pl

KEY = "key"
SUBJECT = "subject"  # the person a row is about, as a keyed digest; null where nobody is known


def normalised(text: str) -> str:
    """Text without differences that carry no meaning: compatibility forms, case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def with_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the normalised text as column `key`, and a column `subject`, where there is none."""
    if SUBJECT not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(SUBJECT))
    if KEY in frame.columns:
        return frame
    return frame.with_columns(pl.Series(KEY, [normalised(t) for t in frame["text"]], dtype=pl.String))


@dataclass(frozen=True, slots=True)
class Deduped:
    rows: pl.DataFrame
    repeats: int  # rows left out because a later row has the same text
    conflicts: int  # texts that had more than one label


def dedupe(frame: pl.DataFrame) -> Deduped:
    """Keep the last row of each key, in the order given.

    Args:
        frame: rows with columns `key` and `label`, oldest first.
    """
    conflicts = frame.group_by(KEY).agg(pl.col("label").n_unique()).filter(pl.col("label") > 1).height
    rows = frame.unique(KEY, keep="last", maintain_order=True)
    return Deduped(rows, frame.height - rows.height, conflicts)

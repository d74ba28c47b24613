"""Equal texts once: the latest row stays; texts that were labelled differently are counted.

Of two answers to a prompt each pair of them counts once, so that all that people said about a prompt is learned.
"""

import unicodedata
from dataclasses import dataclass

import polars as pl

KEY = "key"
PAIR = "pair"  # of two answers: which they are, whichever is preferred
REJECTED = "rejected"  # the answer that is not preferred
SUBJECT = "subject"  # the person a row is about, as a keyed digest; null where nobody is known


def normalised(text: str) -> str:
    """Text without differences that carry no meaning: compatibility forms, case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def with_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the normalised text as column `key`, and a column `subject`, where there is none; of answers their `pair`."""
    if REJECTED in frame.columns and PAIR not in frame.columns:
        both = pl.concat_list("label", REJECTED).list.sort().list.join("\x00")
        frame = frame.with_columns(both.alias(PAIR))
    if SUBJECT not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(SUBJECT))
    if KEY in frame.columns:
        return frame
    return frame.with_columns(pl.Series(KEY, [normalised(t) for t in frame["text"]], dtype=pl.String))


@dataclass(frozen=True, slots=True)
class Deduped:
    rows: pl.DataFrame
    repeats: int  # rows left out because a later row has the same text, and the same two answers
    conflicts: int  # of what is the same, that which had more than one label


def dedupe(frame: pl.DataFrame) -> Deduped:
    """Keep the last row of each key, or of each pair of answers to it, in the order given.

    Args:
        frame: rows with columns `key`, `label` and, of answers, `pair`; oldest first.
    """
    same = same_row(frame)
    conflicts = frame.group_by(same).agg(pl.col("label").n_unique()).filter(pl.col("label") > 1).height
    rows = frame.unique(same, keep="last", maintain_order=True)
    return Deduped(rows, frame.height - rows.height, conflicts)


def same_row(frame: pl.DataFrame) -> list[str]:
    """The columns in which two rows must be equal, so that the later one replaces the earlier."""
    return [KEY, PAIR] if PAIR in frame.columns else [KEY]

"""What is held out: the newest share of the new rows, and a stable part of the old ones. Pure."""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from core.errors import InvalidError
from retrain.curate.dedupe import KEY

HELD_OUT_SHARE: Final = 0.2
OLD_PARTS: Final = 5  # one part in five of the old rows is held out
MIN_CLASS_ROWS: Final = 5


def by_time(
    frame: pl.DataFrame, *, share: float = HELD_OUT_SHARE, most: int = 2000
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into (earlier, held out): the last `share` of them in time, at most `most` rows.

    Args:
        frame: rows with columns `ts` and `seq`.
        share: of the rows, 0 < share < 1; rounded up.
    """
    if not 0 < share < 1:
        raise InvalidError(f"share is {share}; give a share between 0 and 1", share=share)
    ordered = frame.sort("ts", "seq")
    held = min(math.ceil(ordered.height * share), most)
    return ordered.head(ordered.height - held), ordered.tail(held)


def bucket(key: str, parts: int = OLD_PARTS) -> int:
    """Part a text belongs to, 0..parts-1: the same for equal texts, on every machine, for ever."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % parts


def held_old(frame: pl.DataFrame) -> pl.Series:
    """Mask of the old rows that are held out, by their key."""
    return pl.Series("held", [bucket(key) == 0 for key in frame[KEY]], dtype=pl.Boolean)


@dataclass(frozen=True, slots=True)
class Cleaned:
    train: pl.DataFrame
    leaked: int


def without_leakage(train: pl.DataFrame, *held_out: pl.DataFrame) -> Cleaned:
    """Take every text that is held out anywhere out of the training rows; the held-out rows stay as they are."""
    clean = train
    for held in held_out:
        clean = clean.join(held.select(KEY).unique(), on=KEY, how="anti", maintain_order="left")
    return Cleaned(clean, train.height - clean.height)


@dataclass(frozen=True, slots=True)
class Classes:
    labels: tuple[str, ...]  # the champion's in their order, then new ones by name
    too_few: dict[str, int]  # new labels left out, with their training rows
    unseen: dict[str, int]  # held-out labels no training row has, with their held-out rows


def classes(train: pl.DataFrame, held_out: pl.DataFrame, known: tuple[str, ...]) -> Classes:
    """Labels of the challenger. A label new to the champion needs MIN_CLASS_ROWS training rows; else it is left out."""
    counts = dict(train.group_by("label").len().iter_rows())
    fresh = sorted(name for name in counts if name not in known)
    too_few = {name: counts[name] for name in fresh if counts[name] < MIN_CLASS_ROWS}
    labels = (*known, *(name for name in fresh if name not in too_few))
    held = dict(held_out.group_by("label").len().iter_rows())
    unseen = {name: held[name] for name in sorted(held) if name not in labels and name not in too_few}
    return Classes(labels, too_few, unseen)

"""What is held out: the newest share of the new rows, and a stable part of the old ones. Pure.

No text and no person (where the spec has a subject) is ever both trained on and held out.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from core.errors import InvalidError
from retrain.curate.dedupe import KEY, SUBJECT

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


@dataclass(frozen=True, slots=True)
class Apart:
    early: pl.DataFrame
    held: pl.DataFrame
    dropped: int  # rows left out, because their person is on the other side


def keep_apart(early: pl.DataFrame, held: pl.DataFrame, *, by: str = SUBJECT, share: float = HELD_OUT_SHARE) -> Apart:
    """Put every person, or every text, on one side of a split in time: their rows of the other side are left out.

    Those who are on both sides are held out, those with the largest share of late rows first, until `share` of the
    rows that are left are held out; the others are trained on. No row moves to the other side, so that what is held
    out is still the newest.

    Args:
        early, held: rows with a column `by`, null where nobody is known.
        by: `subject` for persons, `key` for texts.
        share: of the rows, that should be held out.
    """
    counts = [dict(f.drop_nulls(by).group_by(by).len().iter_rows()) for f in (early, held)]
    both = counts[0].keys() & counts[1].keys()
    if not both:
        return Apart(early, held, 0)
    trained = early.height
    out = held.height - sum(counts[1][name] for name in both)
    order = sorted(both, key=lambda name: (-counts[1][name] / (counts[0][name] + counts[1][name]), bucket(name, 2**32)))
    taken: list[str] = []
    for name in order:
        if out >= share * (out + trained):
            break
        taken.append(name)
        out, trained = out + counts[1][name], trained - counts[0][name]
    rest = list(both - set(taken))
    first, last = _without(early, taken, by), _without(held, rest, by)
    return Apart(first, last, early.height + held.height - first.height - last.height)


def _without(frame: pl.DataFrame, names: list[str], by: str = SUBJECT) -> pl.DataFrame:
    return frame.filter(~pl.col(by).is_in(names).fill_null(value=False))


def bucket(key: str, parts: int = OLD_PARTS) -> int:
    """Part a text belongs to, 0..parts-1: the same for equal texts, on every machine, for ever."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % parts


def held_old(frame: pl.DataFrame) -> pl.Series:
    """Mask of the old rows that are held out, by their person, else by their text."""
    keys = frame.select(pl.coalesce(SUBJECT, KEY)).to_series()
    return pl.Series("held", [bucket(key) == 0 for key in keys], dtype=pl.Boolean)


@dataclass(frozen=True, slots=True)
class Cleaned:
    train: pl.DataFrame
    leaked: int  # rows whose text is held out
    persons: int  # other rows whose person is held out


def without_leakage(train: pl.DataFrame, *held_out: pl.DataFrame) -> Cleaned:
    """Take all texts and persons that are held out out of the training rows; held-out rows stay as they are."""
    clean = train
    for held in held_out:
        clean = clean.join(held.select(KEY).unique(), on=KEY, how="anti", maintain_order="left")
    others = clean
    for held in held_out:
        others = _without(others, held[SUBJECT].drop_nulls().unique().to_list())
    return Cleaned(others, train.height - clean.height, clean.height - others.height)


@dataclass(frozen=True, slots=True)
class Classes:
    labels: tuple[str, ...]  # the champion's in their order, then new ones by name
    too_few: dict[str, int]  # new labels left out, with their training rows
    unseen: dict[str, int]  # held-out labels no training row has, with their held-out rows
    unanswerable: int  # held-out rows whose label the challenger cannot give; they count as wrong


def classes(train: pl.DataFrame, held_out: pl.DataFrame, known: tuple[str, ...]) -> Classes:
    """Labels of the challenger. A label new to the champion needs MIN_CLASS_ROWS training rows; else it is left out."""
    counts = dict(train.group_by("label").len().iter_rows())
    fresh = sorted(name for name in counts if name not in known)
    too_few = {name: counts[name] for name in fresh if counts[name] < MIN_CLASS_ROWS}
    labels = (*known, *(name for name in fresh if name not in too_few))
    held = dict(held_out.group_by("label").len().iter_rows())
    unseen = {name: held[name] for name in sorted(held) if name not in labels and name not in too_few}
    return Classes(labels, too_few, unseen, sum(rows for name, rows in held.items() if name not in labels))

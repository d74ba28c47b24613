"""What KPIs of generated text share: answers beside references, their tokens, and means of a score per row."""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from monitor.kpi.base import KpiValue, labelled, mean_value, undefined

_WORD: Final = re.compile(r"[a-z0-9]+")


def answers(frame: pl.DataFrame) -> list[tuple[str, str]]:
    """Answer and reference of the labelled rows; a missing answer is an empty one, for the model owed an answer."""
    rows = labelled(frame)
    return list(
        zip(rows["prediction"].cast(pl.String).fill_null(""), rows["outcome"].cast(pl.String), strict=True)
    )  # fmt: skip


def tokens(text: str) -> list[str]:
    """Runs of a-z and 0-9 of the lower-cased text, as in Google's rouge-score without its stemmer."""
    return _WORD.findall(text.lower())


def mean_overlap(frame: pl.DataFrame, overlap: Callable[[list[str], list[str]], int]) -> KpiValue:
    """Mean over rows of F1 = 2 overlap / (tokens of the answer + tokens of the reference).

    Rows whose reference has no token are left out and counted: nothing can overlap with them.
    """
    values, left_out = [], 0
    for answer, reference in answers(frame):
        wanted, given = tokens(reference), tokens(answer)
        if not wanted:
            left_out += 1
            continue
        values.append(2.0 * overlap(given, wanted) / (len(given) + len(wanted)))
    absent = "no reference has a word of the letters a-z or a digit" if left_out else "no outcome has arrived"
    return mean_value(np.array(values), lowest=0.0, highest=1.0, left_out=left_out, absent=absent)


def written(frame: pl.DataFrame) -> pl.Series:
    """The answers of all rows as text, missing ones left out."""
    return frame["prediction"].cast(pl.String).drop_nulls()


def no_answer(frame: pl.DataFrame) -> KpiValue:
    return undefined("no row has an answer", left_out=frame.height)

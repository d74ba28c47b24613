"""What KPIs of generated text share: pairs of answer and reference, their tokens, and the mean of a score per row."""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from core.errors import InvalidError
from monitor.kpi.base import KpiValue, labelled
from monitor.kpi.intervals import mean_value

NO_ANSWER: Final = "no row has an answer"
_WORD: Final = re.compile(r"[a-z0-9]+")


def answers(frame: pl.DataFrame) -> list[tuple[str, str]]:
    """Answer and reference of each labelled row. A missing answer is an empty one: the model owed an answer.

    Raises:
        InvalidError: a column is absent.
    """
    rows = labelled(frame)
    return list(
        zip(rows["prediction"].cast(pl.String).fill_null(""), rows["outcome"].cast(pl.String), strict=True)
    )  # fmt: skip


def tokens(text: str) -> list[str]:
    """Runs of a-z and 0-9 of the lower-cased text, as in Google's rouge-score without its stemmer."""
    return _WORD.findall(text.lower())


def mean_overlap(frame: pl.DataFrame, overlap: Callable[[list[str], list[str]], int]) -> KpiValue:
    """Mean over rows of F1 = 2 overlap / (tokens of the answer + tokens of the reference).

    Args:
        frame: columns prediction and outcome, texts, shape (rows,). Rows whose reference has no token are left out and
            counted, because nothing can overlap with them.
        overlap: tokens of an answer and of its reference -> number of tokens they share.

    Returns:
        Share 0..1 with a normal 95 % interval. None if no row is left.

    Raises:
        InvalidError: a column is absent.

    Source: Lin (2004), with equal weights for precision and recall.
    """
    values, left_out = [], 0
    for answer, reference in answers(frame):
        wanted, given = tokens(reference), tokens(answer)
        if not wanted:
            left_out += 1
            continue
        values.append(2.0 * overlap(given, wanted) / (len(given) + len(wanted)))
    reason = "no reference has a word of the letters a-z or a digit" if left_out else "no outcome has arrived"
    return mean_value(np.array(values), lowest=0.0, highest=1.0, left_out=left_out, if_empty=reason)


def written(frame: pl.DataFrame) -> pl.Series:
    """The answers of all rows as text, without the missing ones.

    Raises:
        InvalidError: the frame has no column prediction.
    """
    if "prediction" not in frame.columns:
        raise InvalidError("the rows have no column 'prediction'; a KPI of answers needs it", column="prediction")
    return frame["prediction"].cast(pl.String).drop_nulls()

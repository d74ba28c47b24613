"""What KPIs of generated text share: answers with their references, their tokens, and the mean of a score per row.

Every text is read in Unicode's composed form (NFC): texts that are equal to the eye are equal, whatever keyboard or
system wrote them. Compatibility forms stay apart: "²" is not "2".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.errors import InvalidError
from monitor.kpi.base import KpiValue, labelled
from monitor.kpi.intervals import mean_value

NO_ANSWER: Final = "no row has an answer"
NO_OUTCOME: Final = "no outcome has arrived"
NO_REFERENCE: Final = "no row has a reference that is not empty, and that is not the answer itself"
_WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and its references: one, or the texts of a list."""

    answer: str
    references: Sequence[str]


def answers(frame: pl.DataFrame) -> list[Answered]:
    """Answer and references of each labelled row, in NFC. A missing answer is an empty one: the model owed an answer.

    Args:
        frame: columns prediction, texts, and outcome, texts or lists of texts, shape (rows,).

    Raises:
        InvalidError: a column is absent.
    """
    rows = labelled(frame)
    given, wanted = composed(rows["prediction"]).fill_null(""), composed(rows["outcome"])
    if isinstance(wanted.dtype, pl.List):
        return [
            Answered(a, [r for r in many if r is not None]) for a, many in zip(given, wanted.to_list(), strict=True)
        ]
    return [Answered(answer, [reference]) for answer, reference in zip(given, wanted, strict=True)]


def composed(texts: pl.Series) -> pl.Series:
    """Texts, or lists of texts, in Unicode normalisation form C.

    Args:
        texts: values of any type, read as text, shape (rows,).

    Source: Unicode Standard Annex 15.
    """
    if isinstance(texts.dtype, pl.List):
        return texts.list.eval(pl.element().cast(pl.String).str.normalize("NFC"))
    return texts.cast(pl.String).str.normalize("NFC")


def with_reference(rows: Sequence[Answered]) -> tuple[list[Answered], int]:
    """The rows with their references that are not empty, and the number of rows that have none and are left out.

    An empty reference asks for nothing that an answer could be compared with.
    """
    found = [Answered(r.answer, [x for x in r.references if x.strip()]) for r in rows]
    kept = [r for r in found if r.references]
    return kept, len(found) - len(kept)


def equals_reference(rows: pl.DataFrame) -> pl.Series:
    """Whether each answer equals one of its references, ignoring case and the amount of white space.

    Args:
        rows: columns prediction, texts, and outcome, texts or lists of texts, shape (rows,).

    Returns:
        Flags, shape (rows,); false for a missing answer, null for a missing outcome and an empty list.
    """
    given, wanted = composed(rows["prediction"]).alias("given"), composed(rows["outcome"]).alias("wanted")
    answer, reference = _plain(pl.col("given")), pl.col("wanted")
    if isinstance(wanted.dtype, pl.List):
        equal = reference.list.eval(_plain(pl.element())).list.contains(answer, nulls_equal=False)
        known = reference.list.drop_nulls().list.len() > 0
    else:
        equal, known = answer == _plain(reference), reference.is_not_null()
    found = pl.when(known).then(equal.fill_null(value=False))
    return pl.DataFrame([given, wanted]).select(found.alias("equal")).to_series()


def _plain(texts: pl.Expr) -> pl.Expr:
    return texts.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def tokens(text: str) -> list[str]:
    """Runs of a-z and 0-9 of the lower-cased text, as in Google's rouge-score without its stemmer."""
    return _WORD.findall(text.lower())


def mean_overlap(frame: pl.DataFrame, overlap: Callable[[list[str], list[str]], int]) -> KpiValue:
    """Mean over rows of the best F1 = 2 overlap / (tokens of the answer + tokens of the reference).

    Args:
        frame: columns prediction and outcome, texts or, for the outcome, lists of texts, shape (rows,). References
            without a token are not compared, because nothing can overlap with them; rows without another one are left
            out and counted.
        overlap: tokens of an answer and of a reference -> number of tokens they share.

    Returns:
        Share 0..1 with a normal 95 % interval. None if no row is left.

    Raises:
        InvalidError: a column is absent.

    Source: Lin (2004), with equal weights for precision and recall; the best of several references, as
    `score_multi` of rouge-score.
    """
    values, left_out = [], 0
    for row in answers(frame):
        given = tokens(row.answer)
        wanted = [found for found in map(tokens, row.references) if found]
        if not wanted:
            left_out += 1
            continue
        values.append(max(2.0 * overlap(given, one) / (len(given) + len(one)) for one in wanted))
    reason = "no reference has a word of the letters a-z or a digit" if left_out else NO_OUTCOME
    return mean_value(np.array(values), lowest=0.0, highest=1.0, left_out=left_out, if_empty=reason)


def written(frame: pl.DataFrame) -> pl.Series:
    """The answers of all rows as text in NFC, without the missing ones.

    Raises:
        InvalidError: the frame has no column prediction.
    """
    if "prediction" not in frame.columns:
        raise InvalidError("the rows have no column 'prediction'; a KPI of answers needs it", column="prediction")
    return composed(frame["prediction"].drop_nulls())

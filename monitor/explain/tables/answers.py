"""Whether the answer that an event records is the one that the explained model gives to the same inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Flags, Floats, Ints
from monitor.levels import other_truths

RELATIVE: Final = 1e-4  # of a number: what 32-bit floats and a way through JSON change
SCORE: Final = 5e-3  # of a probability that was written with two digits


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """For each row: the place of the explained class (0 of a number), what the model itself answers, why no reasons
    are issued (or null), and what a reader must know (or null). Shape (rows,)."""

    index: Ints
    own: pl.Series
    reason: pl.Series
    note: pl.Series


def match_classes(
    classes: Sequence[str], scores: Floats, given: pl.Series, *, threshold: float | None = None,
    recorded: pl.Series | None = None,
) -> Matched:  # fmt: skip
    """
    Args:
        classes: levels, in the order of the scores.
        scores: of the model, shape (rows, classes); the largest is its answer, with two classes from `threshold` on.
        given: the recorded answers as levels, shape (rows,); null where none is recorded: the model's own is explained.
        threshold: the score of the second class from which it is answered; None for the larger one.
        recorded: the recorded probability of the recorded answer. Where it is the model's to half a hundredth, the
            answer was given by the same model with another threshold.
    """
    own = scores.argmax(axis=1) if threshold is None else (scores[:, 1] >= threshold).astype(np.int64)
    spelled = other_truths(classes)
    known = given.replace(spelled) if spelled else given
    names = pl.Series(classes, dtype=pl.String)
    place = known.cast(pl.String).replace_strict(
        list(classes), list(range(len(classes))), default=-1, return_dtype=pl.Int64
    )
    at = np.where(known.is_null().to_numpy(), own, place.to_numpy())
    finite: Flags = np.asarray(np.isfinite(scores).all(axis=1))
    index = np.where(at < 0, own, at)
    chosen = scores[np.arange(len(scores)), index]
    same: Flags = np.zeros(len(scores), dtype=np.bool_)
    if recorded is not None:
        same = np.asarray(np.abs(chosen - recorded.cast(pl.Float64).fill_null(np.nan).to_numpy()) <= SCORE)
    reason: list[str | None] = [None] * len(scores)
    note: list[str | None] = [None] * len(scores)
    other = np.flatnonzero((at != own) | np.logical_not(finite))
    for row in other.tolist():
        said = given[row]
        if not finite[row]:
            reason[row] = "the model's scores for these inputs are no finite numbers"
        elif at[row] < 0:
            reason[row] = (
                f"the event's answer {said!r} is none of the model's classes: {', '.join(classes)[:200]}; name them in "
                "explain.outputs as the events write them"
            )
        elif bool(same[row]):
            note[row] = (
                f"the model gives {names[int(own[row])]!r} the larger score; the event has the same score for {said!r} "
                "as the model, so it was answered with another threshold"
            )
        else:
            reason[row] = (
                f"the model answers {names[int(own[row])]!r} to these inputs, the event says {said!r}: another model, "
                "other inputs or another threshold made this decision"
            )
    return Matched(
        index, names.gather(own), pl.Series("reason", reason, dtype=pl.String), pl.Series("note", note, dtype=pl.String)
    )


def match_numbers(scores: Floats, given: pl.Series) -> Matched:
    """
    Args:
        scores: the model's numbers, shape (rows, 1).
        given: the recorded numbers, shape (rows,); null where none is recorded. One that was rounded is the model's if
            the model's number is rounded to it.
    """
    own, said = scores[:, 0], given.cast(pl.Float64).to_numpy()
    near = np.abs(own - said) <= RELATIVE * np.maximum(np.abs(own), np.abs(said))
    reason: list[str | None] = [None] * len(own)
    for row in np.flatnonzero(~near & ~np.isnan(said) | ~np.isfinite(own)):
        if not np.isfinite(own[row]):
            reason[row] = "the model's answer to these inputs is no finite number"
        elif not _rounded(float(own[row]), float(said[row])):
            reason[row] = (
                f"the model answers {own[row]:.6g} to these inputs, the event says {said[row]:.6g}: another model or "
                "other inputs made this decision"
            )
    nothing = pl.Series("note", [None] * len(own), dtype=pl.String)
    return Matched(
        np.zeros(len(own), dtype=np.int64), pl.Series("own", own), pl.Series("reason", reason, dtype=pl.String), nothing
    )


def _rounded(own: float, said: float) -> bool:
    """Whether a recorded number is the model's with fewer digits; a small whole number is no such proof."""
    digits = repr(said).partition(".")[2]
    places = 0 if digits in ("0", "") or "e" in digits else len(digits)
    return (places > 0 or abs(said) >= 100) and places <= 6 and round(own, places) == said

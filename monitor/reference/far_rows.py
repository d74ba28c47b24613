"""Rows whose time lies far from that of the rest: a test row of last year, a sender whose clock runs ahead.

One such row would set the time at which windows begin, and make the reference seem to span years.
"""

from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Flags

MIN_PAUSE: Final = timedelta(days=7)  # a night, a weekend or a holiday is no sign that a row is out of place
USUAL_PAUSES: Final = 5  # a pause that parts rows is at least as long as this many usual ones
INNER_PAUSES: Final = 3  # and as this many times the longest pause within the rest
MAX_FAR_SHARE: Final = 0.1  # more rows than this are part of the traffic, however far they lie
MAX_NAMED: Final = 20  # events whose ids are kept for each side


def far_from_the_rest(times: pl.Series) -> Flags:
    """Which rows lie far from the rest in time.

    The rest are the rows between two long pauses, if they are nine tenths of all. A pause is long if it lasts a week,
    and five times as long as the median pause between two rows. What lies beyond a long pause is far if the pause is
    also three times as long as any within the rest.

    Args:
        times: of the rows, in any order, without nulls, shape (rows,).

    Returns:
        Shape (rows,), nowhere true where no such group is nine tenths of the rows.
    """
    at = times.dt.epoch("us").to_numpy()
    far = np.zeros(len(at), dtype=bool)
    week = MIN_PAUSE / timedelta(microseconds=1)
    if len(at) < 2 or at.max() - at.min() < week:
        return far
    order = np.argsort(at, kind="stable")
    pauses = np.diff(at[order])
    cuts = np.flatnonzero(pauses >= max(week, USUAL_PAUSES * float(np.median(pauses))))
    begins, ends = np.array([0, *(cuts + 1)]), np.array([*(cuts + 1), len(at)])
    body = int(np.argmax(ends - begins))
    begin, end = int(begins[body]), int(ends[body])
    if (len(at) - (end - begin)) > MAX_FAR_SHARE * len(at):
        return far
    longest = INNER_PAUSES * float(pauses[begin : end - 1].max(initial=0))
    while begin and pauses[begin - 1] < longest:  # the next group is no farther away than rows of the rest are
        begin = int(begins[np.searchsorted(begins, begin) - 1])
    while end < len(at) and pauses[end - 1] < longest:
        end = int(ends[np.searchsorted(ends, end) + 1])
    far[order[:begin]] = far[order[end:]] = True
    return far


def split_far_rows(frame: pl.DataFrame, first: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows in order of arrival, and those of them that lie far from the first ones, which the reference leaves out.

    Args:
        frame: rows with `ts`, in order of arrival.
        first: number of rows that are kept before the question is settled; as many later rows replace far ones.

    Returns:
        The rows that are left, and the rows that are far. Of the rows after the first ones, only those that are older
        than these by a week count as far, because new rows go on to arrive.
    """
    take = first
    while True:
        far = far_from_the_rest(frame["ts"][:take])
        wanted = first + int(far.sum())
        if wanted <= take or take >= frame.height:
            break
        take = min(wanted, frame.height)
    begins: Any = frame["ts"][:take].filter(pl.Series(~far)).min()
    if begins is None:
        return frame, frame.clear()
    later = np.asarray((frame["ts"][take:] < begins - MIN_PAUSE).to_numpy(), dtype=bool)
    gone = pl.Series(np.concatenate([far, later]))
    return (frame.filter(~gone), frame.filter(gone)) if gone.any() else (frame, frame.clear())


def describe_far_rows(far: pl.DataFrame, kept: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows that a reference leaves out for their time, as it stores them: those before its rows and those after.

    Args:
        far: rows with `event_id` and `ts`.
        kept: rows of the reference.
    """
    if far.is_empty():
        return []
    found = []
    for side, part in (
        ("before", far.filter(pl.col("ts") < kept["ts"].min())),
        ("after", far.filter(pl.col("ts") > kept["ts"].max())),
    ):
        if part.height:
            begin: Any = part["ts"].min()
            end: Any = part["ts"].max()
            found.append(
                {
                    "side": side, "rows": part.height, "from": begin.isoformat(), "to": end.isoformat(),
                    "event_ids": part["event_id"][:MAX_NAMED].to_list(),
                }
            )  # fmt: skip
    return found

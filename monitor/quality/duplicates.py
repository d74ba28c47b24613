"""Rows that repeat an earlier row."""

from typing import Final

import polars as pl

from monitor.quality.base import Learned, QualityCheck, learn_nothing

RUN_ROWS: Final = 200
_RUN: Final = pl.int_range(pl.len()) // RUN_ROWS


def flag(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """Flag rows that equal an earlier row of the same run of 200 rows in every column but ids and times.

    Runs of a fixed length make the share comparable between windows of any size.

    Args:
        frame: rows in their order, shape (rows,).
        _learned: not read.

    Returns:
        Whether each row is a duplicate, shape (rows,).
    """
    compared = _compared(frame)
    if not compared.width:
        return pl.Series([False] * frame.height, dtype=pl.Boolean)
    return compared.select(~pl.struct(compared.columns).is_first_distinct().over(_RUN)).to_series()


def members(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """The rows that are alike within a run of 200 rows: each duplicate, and the row that it repeats.

    Args:
        frame: rows in their order, shape (rows,).
        _learned: not read.

    Returns:
        Whether each row has an equal one in its run, shape (rows,).
    """
    compared = _compared(frame)
    if not compared.width:
        return pl.Series([False] * frame.height, dtype=pl.Boolean)
    return compared.select(pl.struct(compared.columns).is_duplicated().over(_RUN)).to_series()


def _compared(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns in which a row equals another: every one but ids and times."""
    return frame.drop("event_id", "ts", "received_at", "outcome_ts", "seq", "trace_id", "span_id", "date", strict=False)


CHECK = QualityCheck("duplicates", "rows", learn_nothing, flag, members=members)

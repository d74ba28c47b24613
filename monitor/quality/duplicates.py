"""Rows that repeat an earlier row."""

from typing import Final

import polars as pl

from monitor.quality.base import Learned, QualityCheck, learn_nothing

RUN_ROWS: Final = 200


def flag(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """Flag rows that equal an earlier row of the same run of 200 rows in every column but ids and times.

    Runs of a fixed length make the share comparable between windows of any size.

    Args:
        frame: rows in their order, shape (rows,).
        _learned: not read.

    Returns:
        Whether each row is a duplicate, shape (rows,).
    """
    compared = frame.drop(
        "event_id", "ts", "received_at", "outcome_ts", "seq", "trace_id", "span_id", "date", strict=False
    )
    if not compared.width:
        return pl.Series([False] * frame.height, dtype=pl.Boolean)
    run = pl.int_range(pl.len()) // RUN_ROWS
    return compared.select(~pl.struct(compared.columns).is_first_distinct().over(run)).to_series()


CHECK = QualityCheck("duplicates", "rows", learn_nothing, flag)

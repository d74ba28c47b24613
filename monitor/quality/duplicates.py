"""The same row again."""

from typing import Final

import polars as pl

from monitor.quality.base import Check, Learned, nothing

NEAR: Final = 200  # rows


def flag(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """Rows equal in every column to an earlier one of the same 200 rows; ids and times are no such columns.

    Runs of a fixed length make the share comparable between windows of any size.
    """
    compared = frame.drop(
        "event_id", "ts", "received_at", "outcome_ts", "seq", "trace_id", "span_id", "date", strict=False
    )
    if not compared.width:
        return pl.Series([False] * frame.height, dtype=pl.Boolean)
    run = pl.int_range(pl.len()) // NEAR
    return compared.select(~pl.struct(compared.columns).is_first_distinct().over(run)).to_series()


CHECK = Check("duplicates", "rows", nothing, flag)

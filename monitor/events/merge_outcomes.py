"""Merging outcomes: those of one event arrive in parts and may be corrected, and each accepted row is kept."""

from typing import Final

import polars as pl

_NOT_VALUES: Final = ("event_id", "seq", "ts")


def merged(rows: pl.DataFrame) -> pl.DataFrame:
    """Merge the outcomes of each event into one row: the newest value that was sent for every column.

    Args:
        rows: outcomes as they arrived, with `event_id`, `seq` and `ts`, in any order.

    Returns:
        One row for each event, in order of `seq`: `seq` and `ts` are those of the event's newest row, `first_ts` is the
        `ts` of its first row.
    """
    rows = rows.sort("seq")
    if rows["event_id"].n_unique() == rows.height:  # mostly
        return rows.with_columns(first_ts=pl.col("ts"))
    values = pl.exclude(_NOT_VALUES)
    return (
        rows.group_by("event_id")
        .agg(pl.col("seq", "ts").last(), pl.col("ts").first().alias("first_ts"), values.drop_nulls().last())
        .sort("seq")
        .select(*rows.columns, "first_ts")
    )

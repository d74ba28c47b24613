"""What is known of an event: its outcomes arrive in parts and may be corrected, and each accepted row is a fact."""

from typing import Final

import polars as pl

_NOT_SENT: Final = ("event_id", "seq", "ts")


def merged(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an event: of every column the newest value that was given.

    Args:
        rows: outcomes as they arrived, with `event_id`, `seq` and `ts`, in any order.

    Returns:
        In order of `seq`: `seq` and `ts` are those of the event's newest row, `first_ts` is when its first one came.
    """
    rows = rows.sort("seq")
    if rows["event_id"].n_unique() == rows.height:  # mostly
        return rows.with_columns(first_ts=pl.col("ts"))
    values = pl.exclude(_NOT_SENT)
    return (
        rows.group_by("event_id")
        .agg(pl.col("seq", "ts").last(), pl.col("ts").first().alias("first_ts"), values.drop_nulls().last())
        .sort("seq")
        .select(*rows.columns, "first_ts")
    )

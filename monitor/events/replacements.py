"""Replacements: other records of events that are stored already, such as the fuller span of the same call.

The row of an event keeps its id and its number; a replacement with `@seq` takes its place in everything that is read,
the newest of several. What a replacement lacks is read from the row, to which later amendments are written.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def newest_replacements(replacements: "pl.LazyFrame") -> "pl.DataFrame":
    """The newest replacement of each event that has one: `@seq` of the event and `seq` of the replacement."""
    import polars as pl

    numbers = replacements.select("@seq", "seq").filter(pl.col("@seq").is_not_null())
    return numbers.group_by("@seq").agg(pl.col("seq").max()).collect()


def overlaid(
    rows: "pl.LazyFrame", replacements: "pl.LazyFrame", newest: "pl.DataFrame", bounds: Mapping[str, Any]
) -> "pl.LazyFrame":
    """Rows of events with their replacements in their place.

    Args:
        rows: rows of the table of events within the bounds.
        replacements: all rows of the table of replacements.
        newest: `newest_replacements` of them.
        bounds: those of `LakeTable.scan_at`; `keys` are ids of events.
    """
    import polars as pl

    columns = rows.collect_schema().names()
    if newest.is_empty() or "seq" not in columns:
        return rows
    instead = replacements.filter(pl.col("seq").is_in(newest["seq"].implode()))
    instead = instead.drop("seq", "event_id", "@id", "@reason").rename({"@seq": "seq", "@of": "event_id"})
    if (keys := bounds.get("keys")) is not None:
        instead = instead.filter(pl.col("event_id").is_in(keys.implode()))
    for column, first, end in (("seq", "from_seq", "to_seq"), ("ts", "from_ts", "to_ts")):
        if bounds.get(first) is not None:
            instead = instead.filter(pl.col(column) >= bounds[first])
        if bounds.get(end) is not None:
            instead = instead.filter(pl.col(column) < bounds[end])
    stored = rows.filter(pl.col("seq").is_in(newest["@seq"].implode()))
    amended = stored.select("event_id", pl.exclude("event_id").name.suffix("\0stored"))
    filled = [pl.coalesce(name, f"{name}\0stored").alias(name) for name in columns if name not in ("event_id", "seq")]
    joined = instead.join(amended, on="event_id", how="left").with_columns(filled)
    kept = rows.filter(~pl.col("seq").is_in(newest["@seq"].implode()))
    return pl.concat([kept, joined], how="diagonal").select(columns)

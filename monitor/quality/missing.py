"""Missing values."""

import polars as pl

from monitor.quality.base import Check, Learned, nothing


def flag(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """Rows without a value in the column `value`."""
    return frame["value"].is_null()


CHECK = Check("missing", "column", nothing, flag, types=("number", "category", "boolean", "text", "string", "vector"))

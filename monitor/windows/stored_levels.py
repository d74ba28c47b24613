"""Rows as they are compared: homes that are older than `monitor.levels` hold categories such as 1.0 and NaN."""

import polars as pl

from monitor.levels import levels
from monitor.spec.model import ModelSpec


def with_levels(spec: ModelSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Stored rows with every category as its level; what is stored stays as it is."""
    named = [
        levels(frame.get_column(name)) for name, column in spec.columns.items()
        if column.type == "category" and frame.schema.get(name) == pl.String
    ]  # fmt: skip
    return frame.with_columns(named) if named else frame

"""Missing values."""

import polars as pl

from monitor.quality.base import Learned, QualityCheck, learn_nothing


def flag(frame: pl.DataFrame, _learned: Learned) -> pl.Series:
    """Flag rows without a value.

    Args:
        frame: column `value` of any type, shape (rows,).
        _learned: not read.

    Returns:
        Whether each value is missing, shape (rows,).
    """
    return frame["value"].is_null()


CHECK = QualityCheck(
    "missing", "column", learn_nothing, flag, types=("number", "category", "boolean", "text", "string", "vector")
)

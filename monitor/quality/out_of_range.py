"""Numbers outside the declared or usual range."""

from sys import float_info

import polars as pl

from monitor.quality.base import Learned, QualityCheck


def learn(frame: pl.DataFrame, limits: Learned) -> Learned | None:
    """The range that the spec declares, or, for an end it leaves open, the reference's range widened by half its span.

    Args:
        frame: column `value` of reference rows, numbers, shape (rows,).
        limits: `min` and `max` as declared, in the column's unit; an end may be absent or None.

    Returns:
        `min` and `max` in the column's unit. Half a span on either side is a convention. None if the reference has no
        finite number and the spec leaves an end open.
    """
    values = frame["value"].cast(pl.Float64).drop_nulls()
    values = values.filter(values.is_finite())
    low, high = limits.get("min"), limits.get("max")
    if values.is_empty():
        return {"min": low, "max": high} if low is not None and high is not None else None
    least, most = float(values.min()), float(values.max())  # type: ignore[arg-type]  # numbers
    reach, largest = most / 2.0 - least / 2.0, float_info.max
    lowest, highest = max(least - reach, -largest), min(most + reach, largest)
    return {"min": lowest if low is None else low, "max": highest if high is None else high}


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Flag rows whose number lies outside the range.

    Args:
        frame: column `value`, numbers, shape (rows,).
        learned: `min` and `max` in the column's unit, from `learn`.

    Returns:
        Whether each number lies outside, shape (rows,); null if it is missing.
    """
    values = frame["value"].cast(pl.Float64)
    outside: pl.Series = (values < learned["min"]) | (values > learned["max"])
    return outside


CHECK = QualityCheck("out_of_range", "column", learn, flag, types=("number",), halved=True, members=flag)

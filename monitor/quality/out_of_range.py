"""Numbers outside their range."""

from sys import float_info

import polars as pl

from monitor.quality.base import Check, Learned


def learn(frame: pl.DataFrame, limits: Learned) -> Learned | None:
    """The range the spec declares; an end it leaves open is the reference's, farther out by half the reference's span.

    None where the reference has no number and the spec leaves an end open.
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
    """Rows whose number lies outside; a missing one does not count."""
    values = frame["value"].cast(pl.Float64)
    outside: pl.Series = (values < learned["min"]) | (values > learned["max"])
    return outside


CHECK = Check("out_of_range", "column", learn, flag, types=("number",), halved=True)

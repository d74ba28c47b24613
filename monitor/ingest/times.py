"""Times of files that do not say how to read them: numbers since 1970, or times without a zone."""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from core.errors import InvalidError

EPOCHS: Final = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": 0}  # microseconds of one unit
_MICROSECONDS: Final = pl.Datetime("us", "UTC")
_DAYS: Final = r"^\d{4}-\d{2}-\d{2}$"


def check_reading(reading: str) -> str:
    """A unit since 1970 or the name of a time zone, as `--ts-as` takes it.

    Raises:
        InvalidError: it is neither.
    """
    if reading in EPOCHS:
        return reading
    try:
        ZoneInfo(reading)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidError(
            f"ts-as: {reading!r} is neither a unit ({', '.join(EPOCHS)}) nor a time zone such as UTC or Europe/Berlin",
            field="ts-as", value=reading,
        ) from error  # fmt: skip
    return reading


def read_times(values: pl.Series, reading: str) -> pl.Series:
    """The times that values mean, shape (n,), in UTC with microseconds; null where they mean none.

    Args:
        values: numbers or their texts for a unit; times, days or their texts for a zone. What has a zone keeps it.
        reading: checked by `check_reading`.

    Returns:
        In a zone with summer time, an hour that occurs twice is the earlier one; one that does not occur is null.
    """
    if reading in EPOCHS:
        return _since_1970(values, reading)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if values.dtype in (pl.Date, pl.Datetime):
        return _zoned(values.cast(pl.Datetime("us")), reading)
    if values.dtype != pl.String:
        return pl.Series(values.name, [None] * len(values), dtype=_MICROSECONDS)
    text = values.str.strip_chars().str.replace(_DAYS, "${0}T00:00:00").str.replace(" ", "T", literal=True)
    with_zone = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    seconds = text.str.replace(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})$", "${1}:00")
    plain = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return with_zone.zip_with(with_zone.is_not_null(), _zoned(plain, reading)).alias(values.name)


def read_time(value: Any, reading: str) -> Any:
    """One value of a JSON row, as a time that the service takes; unchanged if it means none."""
    if value is None or isinstance(value, bool | list | dict):
        return value
    try:
        found = read_times(pl.Series("ts", [value]), reading)[0]
    except (OverflowError, ValueError, pl.exceptions.PolarsError):  # beyond the calendar
        return value
    return found.astimezone(UTC).isoformat() if isinstance(found, datetime) else value


def _since_1970(values: pl.Series, reading: str) -> pl.Series:
    numbers = values.str.strip_chars() if values.dtype == pl.String else values
    if numbers.dtype != pl.String and not numbers.dtype.is_numeric():
        return pl.Series(values.name, [None] * len(values), dtype=_MICROSECONDS)
    if reading == "epoch_ns":
        micros = numbers.cast(pl.Int64, strict=False) // 1000
    elif numbers.dtype.is_integer():
        micros = numbers.cast(pl.Int64, strict=False) * EPOCHS[reading]
    else:  # seconds may have a fraction
        decimals = numbers.cast(pl.Float64, strict=False)
        micros = (decimals * EPOCHS[reading]).round(0).cast(pl.Int64, strict=False)
    return micros.cast(_MICROSECONDS).alias(values.name)


def _zoned(values: pl.Series, zone: str) -> pl.Series:
    here = values.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return here.dt.convert_time_zone("UTC").cast(_MICROSECONDS)

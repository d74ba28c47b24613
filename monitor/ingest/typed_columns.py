"""Convert a column of any physical type to the type that the spec declares; every reader of columns uses this.

The rules are those of docs/ingest.md, "What counts as equal, and what as missing". `monitor.ingest.validate` applies
the same rules to the values of JSON rows.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from monitor.ingest import vectors
from monitor.ingest.row_values import MAX_TEXTS, dropped, parsed_texts
from monitor.levels import levels, number_level, number_levels
from monitor.spec.columns import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

DTYPES: Final[Mapping[ColumnType, Any]] = {
    "number": pl.Float64, "boolean": pl.Boolean, "category": pl.String, "string": pl.String, "text": pl.String,
    "vector": pl.List(pl.Float32), "texts": pl.List(pl.String),
}  # fmt: skip
ACCEPTED: Final[Mapping[ColumnType, str]] = {
    "number": "integers, floats, decimals or their texts", "boolean": "booleans, or 0 and 1",
    "category": "strings, numbers, booleans, dates or times", "string": "strings, numbers, booleans, dates or times",
    "text": "strings, numbers, booleans, dates or times", "vector": "lists of numbers",
    "texts": "lists of strings, or strings",
}  # fmt: skip
_CALENDAR: Final = {  # the years 1 to 9999, counted from 1970
    "days": (-719_162, 2_932_896),
    **{unit: (-62_135_596_800 * n, 253_402_300_800 * n - 1) for unit, n in (("ms", 10**3), ("us", 10**6))},
    "ns": (-(2**63), 2**63 - 1),
}
_FAR_SECONDS: Final = 10**15
_NO_NUMBER: Final = ("", "nan", "-nan", "+nan")


class TypedColumn(NamedTuple):
    """A column of its declared type, and a mask of the values that have none, of shape (rows,); None if all fit."""

    values: pl.Series
    misfits: pl.Series | None = None


def typed_column(given: pl.Series, kind: ColumnType) -> TypedColumn | None:
    """Convert a column; None if its physical type cannot hold values of the declared type, whatever they are.

    NaN, and in a category or a text that stands for a number an empty text, become null and are no misfits.
    """
    if isinstance(given.dtype, pl.Categorical | pl.Enum):
        given = given.cast(pl.String)
    if given.dtype == pl.Null:
        return TypedColumn(given.cast(DTYPES[kind]))
    match kind:
        case "number":
            return _numbers(given)
        case "boolean":
            return _booleans(given)
        case "vector":
            return _vectors(given)
        case "texts":
            return _lists(given)
    return _texts(given, kind)


def arrow_series(name: str, column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> pl.Series:
    """An Arrow column for `typed_column`; decimals that Polars does not know become the texts of their numbers."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_decimal(kind.value_type):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_decimal(kind) and (pa.types.is_decimal256(kind) or kind.scale < 0):
        texts = [None if number is None else number_level(number) for number in column.to_pylist()]
        return pl.Series(name, texts, dtype=pl.String)
    if pa.types.is_timestamp(kind) and kind.unit == "s":  # Polars counts milliseconds, which would overflow
        counts = pl.Series(name, column.cast(pa.int64())).clip(-_FAR_SECONDS, _FAR_SECONDS)
        return (counts * 1000).cast(pl.Datetime("ms", kind.tz))
    if not pa.types.is_dictionary(kind):
        with suppress(ValueError):  # a kind that Polars does not know, of which it tells more below
            return pl.Series(_Stream(column)).alias(name).rechunk()
    return pl.Series(name, column)


@dataclass(frozen=True, eq=False)
class _Stream:
    """An Arrow column as a stream. Polars reads it as it is; of a pyarrow object it first imports `pyarrow.compute`."""

    column: "pa.Array[Any] | pa.ChunkedArray[Any]"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        chunks = self.column if isinstance(self.column, pa.ChunkedArray) else pa.chunked_array([self.column])
        return chunks.__arrow_c_stream__(requested_schema)


def far_time(count: int, unit: str) -> list[str]:
    """A time beyond the calendar as JSON rows hold it: no text, so that its row is rejected with the reason."""
    return [f"{count} {unit} since 1970"]


def surely_finite(numbers: pl.Series) -> bool:
    """Whether no number is NaN or infinite; False may be wrong, as finite numbers may have an infinite sum."""
    return math.isfinite(numbers.sum())


def json_value(value: Any) -> Any:
    """A misfit as JSON can hold it, so that the reason for a rejection quotes it; a list that is too long as a list."""
    if isinstance(value, str):
        return parsed_texts(value)
    if isinstance(value, pl.Series):
        return value.to_list()
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _column(values: pl.Series, misfits: pl.Series) -> TypedColumn:
    return TypedColumn(values, misfits if misfits.any() else None)


def _texts(given: pl.Series, kind: ColumnType) -> TypedColumn | None:
    dtype = given.dtype
    if dtype == pl.String:
        return TypedColumn(levels(given) if kind == "category" else given)
    if dtype == pl.Boolean:
        return TypedColumn(given.cast(pl.String))
    if dtype == pl.Time:
        return TypedColumn(given.dt.strftime("%H:%M:%S%.f"))  # a cast would leave out the fraction
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        far = ~given.to_physical().is_between(*_CALENDAR[dtype.time_unit if isinstance(dtype, pl.Datetime) else "days"])
        far = far.fill_null(value=False)
        near = given.set(far, None) if far.any() else given
        return _column(_written_times(near, dtype) if isinstance(dtype, pl.Datetime) else near.cast(pl.String), far)
    if not dtype.is_numeric():
        return None
    misfits = _infinite(given)
    return TypedColumn(number_levels(given if misfits is None else given.set(misfits, None)), misfits)


def _written_times(given: pl.Series, dtype: pl.Datetime) -> pl.Series:
    """Times as ISO 8601: in UTC if they have a zone; without one, midnight is the day that pandas stores as a time."""
    if dtype.time_zone is not None:
        return given.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    midnight = (given.dt.time() == pl.Series([0]).cast(pl.Time)[0]).fill_null(value=False)
    return given.dt.strftime("%Y-%m-%d").zip_with(midnight, given.dt.strftime("%Y-%m-%dT%H:%M:%S%.f"))


def _infinite(given: pl.Series) -> pl.Series | None:
    """A mask of the infinite values; None if there are none."""
    if not given.dtype.is_float() or surely_finite(given):
        return None
    infinite = given.is_infinite().fill_null(value=False)
    return infinite if infinite.any() else None


def _numbers(given: pl.Series) -> TypedColumn | None:
    if given.dtype.is_numeric():
        numbers = given.cast(pl.Float64)
        if surely_finite(numbers):  # the usual case
            return TypedColumn(numbers)
        return TypedColumn(numbers.fill_nan(None), _infinite(numbers))
    if given.dtype != pl.String:
        return None
    text = given.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False).fill_nan(None)
    missing = text.str.to_lowercase().is_in(_NO_NUMBER).fill_null(value=True)
    return _column(numbers, (numbers.is_null() & ~missing) | numbers.is_infinite().fill_null(value=False))


def _booleans(given: pl.Series) -> TypedColumn | None:
    if given.dtype == pl.Boolean:
        return TypedColumn(given)
    if given.dtype == pl.String:
        named = levels(given.str.strip_chars()).str.to_lowercase()
    elif given.dtype.is_numeric():
        infinite = _infinite(given)
        named = number_levels(given if infinite is None else given.set(infinite, 2))
    else:
        return None
    words = {"true": True, "1": True, "false": False, "0": False}
    truth = named.replace_strict(words, default=None, return_dtype=pl.Boolean)
    return _column(truth, truth.is_null() & named.is_not_null())


def _vectors(given: pl.Series) -> TypedColumn | None:
    if given.dtype == pl.String:
        lists = vectors.parsed(given)
    elif isinstance(given.dtype, pl.List | pl.Array):
        lists = given.cast(DTYPES["vector"], strict=False)
    else:
        return None
    return _column(lists, lists.is_null() & given.is_not_null())


def _lists(given: pl.Series) -> TypedColumn | None:
    """Lists of texts, and texts that are one or, as JSON, a list of them, as a file without lists has them (CSV)."""
    texts = pl.col(given.name)
    if isinstance(given.dtype, pl.List | pl.Array):
        inner = typed_column(given.explode(empty_as_null=True, keep_nulls=True), "text")
        if inner is None:
            return None
        found = given if given.dtype.inner == pl.String else _regrouped(given, inner.values)
        kept_texts = pl.when(texts.list.drop_nulls().list.len() > 0).then(texts.list.drop_nulls()).alias(given.name)
        kept = found.cast(DTYPES["texts"]).to_frame().select(kept_texts).to_series()
    else:
        single = typed_column(given, "text")
        if single is None:
            return None
        read = [None if text is None else parsed_texts(text) for text in single.values.to_list()]
        lists = [[value] if isinstance(value, str) else value for value in read]
        kept = pl.Series(given.name, [dropped(texts) for texts in lists], dtype=DTYPES["texts"])
    return _column(kept, (kept.list.len() > MAX_TEXTS).fill_null(value=False))


def _regrouped(lists: pl.Series, values: pl.Series) -> pl.Series:
    """The values of exploded lists as lists again."""
    numbered = pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "value": lists})
    rows = numbered.explode("value", empty_as_null=True, keep_nulls=True)["row"]
    grouped = pl.DataFrame([rows, values.alias("value")]).group_by("row", maintain_order=True).agg("value")
    return grouped["value"].alias(lists.name)

"""Rows of typed columns, and the text as which datasets keep them: one JSON object a row, columns in the spec's order.

A number is a float, a category its level (`monitor.levels`), so that 1, 1.0 and `1` are one, whichever file they are
from; what is missing is null. So is a number that a 32-bit float cannot hold: forests and XGBoost read such floats, and
one value of 1e300 would end a run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from monitor.levels import as_levels, bool_level, level, number_level
from retrain.train.errors import DataError
from retrain.train.tabular.recipe import TableColumn

LARGEST: Final = float(np.finfo(np.float32).max)
TYPES: Final[Mapping[str, pl.DataType]] = {"number": pl.Float64(), "category": pl.String(), "boolean": pl.Boolean()}


def typed(frame: pl.DataFrame, columns: Sequence[TableColumn]) -> pl.DataFrame:
    """The columns of a frame, by name and in this order, each in its declared type; others are left out.

    Raises:
        DataError: a column is missing, or holds what its type does not allow.
    """
    return pl.DataFrame([_typed(_column(frame, column), column) for column in columns])


def _column(frame: pl.DataFrame, column: TableColumn) -> pl.Series:
    if column.name not in frame.columns:
        raise DataError(f"column {column.name!r} is missing; give null where a value is not known", field=column.name)
    return frame[column.name]


def _typed(values: pl.Series, column: TableColumn) -> pl.Series:
    if values.dtype == pl.Null:
        return values.cast(TYPES[column.type]).alias(column.name)
    if column.type == "category":
        return as_levels(values).alias(column.name)
    if column.type == "number" and values.dtype.is_numeric():
        return held(values).alias(column.name)
    if column.type == "boolean" and (values.dtype == pl.Boolean or values.dtype.is_numeric()):
        found = values.cast(pl.Float64).fill_nan(None)
        if len(others := found.filter((found != 0) & (found != 1))):
            raise DataError(f"column {column.name!r}: {others[0]:g} is no boolean", field=column.name)
        return found.cast(pl.Boolean).alias(column.name)
    raise DataError(
        f"column {column.name!r} is declared as {column.type} and holds {values.dtype}; give {column.type} values",
        field=column.name,
    )


def held(values: pl.Series) -> pl.Series:
    """Numbers as floats; null for what is none, not finite, or more than a 32-bit float holds."""
    found = values.cast(pl.Float64, strict=False)
    return found.set(~(found.abs() <= LARGEST).fill_null(value=False) | found.is_nan().fill_null(value=False), None)


def as_frame(rows: Any, columns: Sequence[TableColumn]) -> pl.DataFrame:
    """Rows that a caller has: a frame of polars or pandas, or mappings by column name.

    Raises:
        DataError: as `typed`.
    """
    if isinstance(rows, pl.DataFrame):
        return typed(rows, columns)
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict("records")
    listed = list(rows)
    return pl.DataFrame([_listed(listed, column) for column in columns])


def _listed(rows: Iterable[Mapping[str, Any]], column: TableColumn) -> pl.Series:
    """One column of mappings; the type of each value is looked at, for a frame would be made from the first of them."""
    values = []
    for row in rows:
        if column.name not in row:
            raise DataError(
                f"column {column.name!r} is missing; give null where a value is not known", field=column.name
            )
        values.append(_value(row[column.name], column))
    return pl.Series(column.name, values, dtype=TYPES[column.type])


def _value(value: Any, column: TableColumn) -> Any:
    if value is None or value != value:  # noqa: PLR0124  NaN, of whichever library
        return None
    if column.type == "category":
        if isinstance(value, str):
            return level(value)
        return bool_level(value) if isinstance(value, bool) else number_level(value)
    if column.type == "boolean" and value in (0, 1):
        return bool(value)
    if column.type == "number" and not isinstance(value, str | bool):
        return float(value) if abs(value) <= LARGEST else None
    raise DataError(f"column {column.name!r}: {value!r} is no {column.type}", field=column.name)


def as_texts(frame: pl.DataFrame, columns: Sequence[TableColumn]) -> pl.Series:
    """One JSON object for each row."""
    return typed(frame, columns).select(pl.struct(pl.all()).struct.json_encode()).to_series()


def from_texts(texts: pl.Series, columns: Sequence[TableColumn]) -> pl.DataFrame:
    """The frame of `as_texts`, value by value.

    Raises:
        DataError: a text is no such row, or the rows were made without a column: its values are not missing, they are
            nowhere, and a model that reads it would look worse than it is.
    """
    if gone := _left_out(texts, columns):
        raise DataError(
            f"the model reads {', '.join(gone)}, and the rows have no such column, for the spec does not declare it as "
            "input; declare it again, or declare the model without it under another name", field="columns", value=gone,
        )  # fmt: skip
    fields = pl.Struct({column.name: TYPES[column.type] for column in columns})
    try:
        return texts.str.json_decode(fields).struct.unnest()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a row is no JSON object of the columns {[c.name for c in columns]}: {error}") from error


def _left_out(texts: pl.Series, columns: Sequence[TableColumn]) -> list[str]:
    """The columns that the first row has no key of; rows of one set have the same keys."""
    try:
        first = json.loads(texts[0]) if len(texts) else None
    except ValueError:
        return []  # decoding says it
    return [c.name for c in columns if c.name not in first] if isinstance(first, dict) else []

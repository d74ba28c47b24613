"""What the values of a column are, as far as a sample shows it. Pure."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import polars as pl

FactKind = Literal["empty", "boolean", "whole", "decimal", "text", "time", "vector", "other"]
MIN_ROWS: Final = 20  # with fewer rows, roles and types are guessed from names
MANY: Final = 50  # values; from here on a column of few rows is not taken for codes
_TIME: Final = r"^\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?\s*$"
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Facts:
    """A column of the sample.

    Attributes:
        name: as the file has it.
        kind: what its values are; of a text file after reading numbers, truth values and times in it.
        values: those present, shape (n,), converted to their kind.
        n: rows with a value.
        rows: rows of the sample.
        distinct: number of different values.
    """

    name: str
    kind: FactKind
    values: pl.Series
    n: int
    rows: int
    distinct: int

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the name, in lower case: `customerID`, `customer_id` and `customer.id` are (customer, id)."""
        return tuple(part.lower() for part in _PARTS.findall(self.name))

    @property
    def numeric(self) -> bool:
        return self.kind in ("whole", "decimal")

    @property
    def unique(self) -> bool:
        return self.n == self.rows == self.distinct and self.rows > 1

    @cached_property
    def low(self) -> float:
        return float(self.values.min()) if self.numeric else 0.0  # type: ignore[arg-type]  # numbers only

    @cached_property
    def high(self) -> float:
        return float(self.values.max()) if self.numeric else 0.0  # type: ignore[arg-type]  # numbers only

    @property
    def flag(self) -> bool:
        """True or false, or whole numbers that are all 0 or 1."""
        return self.kind == "boolean" or (self.kind == "whole" and self.low >= 0 and self.high <= 1)

    @property
    def share(self) -> bool:
        """Numbers within 0..1 that are not just 0 and 1."""
        return self.kind == "decimal" and self.low >= 0 and self.high <= 1 and self.distinct > 2

    @cached_property
    def length(self) -> float:
        """Mean number of words of a text."""
        return float(self.values.str.strip_chars().str.count_matches(r"\s+").mean() or 0) + 1  # type: ignore[arg-type]

    @cached_property
    def nearly(self) -> str:
        """Of a text: the value that keeps a column of numbers from being one, such as `NA`."""
        if self.kind != "text":
            return ""
        strange = self.values.filter(self.values.str.strip_chars().cast(pl.Float64, strict=False).is_null())
        few = 0 < len(strange) <= 0.2 * self.n and strange.n_unique() <= 3
        return str(strange[0]) if few and len(str(strange[0])) <= 10 else ""

    @cached_property
    def timed(self) -> bool:
        """Of a time: whether it has a time of day."""
        if self.values.dtype == pl.String:
            return bool(self.values.str.contains(r"\d:\d").any())
        return self.values.dtype != pl.Date

    @cached_property
    def zoned(self) -> bool:
        """Of a time: whether every value says its zone."""
        if self.values.dtype == pl.String:
            return bool(self.values.str.contains(r"(?i)(z|[+-]\d\d:?\d\d)\s*$").all()) and self.timed
        return isinstance(self.values.dtype, pl.Datetime) and self.values.dtype.time_zone is not None

    @cached_property
    def dimensions(self) -> int:
        """Of a vector: how many numbers it has."""
        return int(self.values.list.len().max())  # type: ignore[arg-type]  # every value is a list


def facts(series: pl.Series) -> Facts:
    """The facts of a column of a sample."""
    present = series.drop_nulls()
    kind, values = _read(present)
    distinct = values.n_unique() if kind not in ("vector", "other") else len(values)
    return Facts(series.name, kind, values, len(values), len(series), distinct)


def _read(values: pl.Series) -> tuple[FactKind, pl.Series]:
    dtype = values.dtype
    if not len(values) or dtype == pl.Null:
        return "empty", values
    if dtype == pl.Boolean:
        return "boolean", values
    if dtype.is_integer():
        return "whole", values
    if dtype.is_numeric():
        return _decimals(values.cast(pl.Float64))
    if dtype.is_temporal() and not isinstance(dtype, pl.Time | pl.Duration):
        return "time", values
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return "text", values.cast(pl.String)
    if isinstance(dtype, pl.List | pl.Array):
        return _lists(values)
    return _texts(values) if dtype == pl.String else ("other", values)


def _decimals(values: pl.Series) -> tuple[FactKind, pl.Series]:
    finite = values.filter(values.is_finite())
    if not len(finite):
        return "empty", finite
    return ("whole", finite.cast(pl.Int64)) if _whole(finite) else ("decimal", finite)


def _whole(values: pl.Series) -> bool:
    """Whole numbers that were made decimals, which pandas does where a value is missing."""
    return bool((values == values.round(0)).all()) and bool((values.abs() < 2**53).all())


def _lists(values: pl.Series) -> tuple[FactKind, pl.Series]:
    inner: Any = values.dtype
    lists = values.cast(pl.List(inner.inner))
    if not inner.inner.is_numeric():
        return "other", values
    lengths = lists.list.len()
    sizes = lengths.unique().to_list()
    return ("vector", lists) if len(sizes) == 1 and 2 <= sizes[0] <= 4096 else ("other", values)


def _texts(values: pl.Series) -> tuple[FactKind, pl.Series]:
    plain = values.str.strip_chars()
    filled = plain.filter(plain != "")
    if not len(filled):
        return "empty", filled
    if bool(filled.str.to_lowercase().is_in(["true", "false"]).all()):
        return "boolean", filled.str.to_lowercase() == "true"
    numbers = filled.cast(pl.Float64, strict=False)
    if not numbers.has_nulls() and not _codes(filled):
        return _decimals(numbers)
    if bool(filled.str.contains(_TIME).all()):
        return "time", filled
    if bool(filled.str.starts_with("[").all()) and (vectors := _json_vectors(filled)) is not None:
        return "vector", vectors
    return "text", values


def _codes(values: pl.Series) -> bool:
    """Digits with a leading zero are codes, such as `007`."""
    return bool(values.str.contains(r"^0\d").any())


def _json_vectors(values: pl.Series) -> pl.Series | None:
    try:
        lists = [json.loads(value) for value in values.head(200)]
        found = pl.Series(lists, dtype=pl.List(pl.Float64))
    except (ValueError, TypeError, pl.exceptions.PolarsError):
        return None
    kind, vectors = _lists(found)
    return vectors if kind == "vector" else None

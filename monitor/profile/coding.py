"""How rows become values and codes that can be counted: by the bins, levels and encoders of the reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from core.errors import InvalidError
from monitor.levels import level, levels, number_levels
from monitor.profile.binning import CellTable, cell_table
from monitor.profile.text_encoder import COMPONENTS, TextEncoder, text_lengths
from monitor.profile.vector_encoder import VectorEncoder, Vectors

MAX_FOLDS: Final = 4
UNKNOWN_CODE: Final = -1
NULL_CODE: Final = -2
# Fields of a column that holds texts with the vectors that a model encoded them as.
TEXT_FIELD: Final = "text"
VECTOR_FIELD: Final = "vector"
DERIVED_PARTS: Final = ("cluster", "oov", "distance", "length", *(f"component_{i}" for i in range(COMPONENTS)))


@dataclass(frozen=True, eq=False)
class NumberBins:
    """The bins of one number. Bin b holds edges[b-1] < x <= edges[b]; the first and the last bin are open."""

    edges: Floats  # (bins - 1,), ascending
    grid: tuple[int, ...]  # indices of the edges at which the decision rule tests the distribution function
    tests: tuple[str, ...]  # which statistics are tested: of location, spread, below, missing

    @cached_property
    def table(self) -> CellTable | None:
        return cell_table(self.edges)


@dataclass(frozen=True, eq=False)
class CategoryLevels:
    """The levels of one category in the reference, with their counts per fold of reference blocks.

    Whether a value is "other" or "unseen" is decided by the reference without the fold of the value's own block. Lists
    of the whole reference would fit the reference better than any window, and every window would seem to have new
    levels.
    """

    kept: tuple[str, ...]  # levels whose share is counted
    levels: tuple[str, ...]  # the dictionary; a level's code is its index
    counts: Ints  # (levels, folds)
    most: int  # length of a list of most frequent levels
    listed: NDArray[np.bool_]  # (levels, folds): among the most frequent in the other folds
    known: NDArray[np.bool_]  # (levels, folds): present in the other folds

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The code of each level; a reference older than `monitor.levels` may have other spellings of it."""
        older = {name: code for code, text in enumerate(self.levels) if (name := level(text)) not in (None, text)}
        return older | {text: code for code, text in enumerate(self.levels)}

    @cached_property
    def null_code(self) -> int:
        """The code of a missing value; an older reference may have counted NaN as a level."""
        return next((code for code, text in enumerate(self.levels) if level(text) is None), NULL_CODE)

    @property
    def wide(self) -> bool:
        """Whether there are more levels than are kept; the compared blocks then decide which are most frequent."""
        return len(self.levels) > self.most


@dataclass(frozen=True, eq=False)
class Coding:
    """How rows become counts, by column. Columns derived from a text or vector `c` are named `c.oov`, `c.distance`, ...

    A text that a model encodes as vectors has both encoders: unknown words and length are derived from the text;
    distance, cluster and components from the vectors. `words`: for each text column, the words that distinguish each of
    its clusters.
    """

    numbers: Mapping[str, NumberBins]
    categories: Mapping[str, CategoryLevels]
    texts: Mapping[str, TextEncoder]
    vectors: Mapping[str, VectorEncoder]
    words: Mapping[str, tuple[tuple[str, ...], ...]]

    @property
    def encoded(self) -> tuple[str, ...]:
        """Text and vector columns, which are watched through derived columns."""
        return tuple({**self.texts, **self.vectors})

    @property
    def columns(self) -> list[str]:
        """The columns that rows must have."""
        derived = {f"{name}.{part}" for name in self.encoded for part in DERIVED_PARTS}
        return [*self.encoded, *(name for name in (*self.numbers, *self.categories) if name not in derived)]


class HasCoding(Protocol):
    """Anything that has a coding; in practice the reference profile."""

    @property
    def coding(self) -> Coding: ...


@dataclass(frozen=True, eq=False)
class CodedColumns:
    """Rows as values and level codes, before they are counted in blocks.

    A code is the index of the level in the reference's dictionary, -1 for an unknown level, -2 for null. In a wide
    column each unknown level has a code of its own after the dictionary; `new` names these levels in code order.
    """

    numbers: Mapping[str, Floats]
    categories: Mapping[str, Ints]
    new: Mapping[str, Sequence[str]]


def coded_columns(frame: pl.DataFrame, coding: Coding) -> CodedColumns:
    """Code every column of a frame, with the derived columns."""
    coded = [coded_column(_series(frame, name), coding) for name in coding.columns]
    return CodedColumns(
        {name: values for one in coded for name, values in one.numbers.items()},
        {name: codes for one in coded for name, codes in one.categories.items()},
        {name: new for one in coded for name, new in one.new.items()},
    )


def coded_column(series: pl.Series, coding: Coding) -> CodedColumns:
    """Code one column; of a text or vector, the columns derived from it."""
    name = series.name
    if name in coding.texts or name in coding.vectors:
        numbers, cluster = derived_columns(series, coding.texts.get(name), coding.vectors.get(name))
        codes, new = level_codes(cluster, coding.categories[cluster.name])
        return CodedColumns(numbers, {cluster.name: codes}, {cluster.name: new})
    if name in coding.numbers:
        return CodedColumns({name: as_numbers(series)}, {}, {})
    codes, new = level_codes(as_strings(series), coding.categories[name])
    return CodedColumns({}, {name: codes}, {name: new})


def number_values(frame: pl.DataFrame, column: str) -> Floats:
    """A column as float64 with nan where it is null, nan or infinite."""
    return as_numbers(_series(frame, column))


def as_numbers(series: pl.Series) -> Floats:
    """Values as float64 with nan where they are null, nan or infinite."""
    if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise InvalidError(
            f"column {series.name!r} has type {series.dtype}, declared number; send numbers or declare it a category",
            column=series.name,
            type=str(series.dtype),
        )
    values = series.cast(pl.Float64).fill_null(math.nan).to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # a sum of huge values overflows; each is then checked below
        finite = np.isfinite(values.sum())
    if finite:  # nearly always, and one pass instead of two copies
        return values
    return np.where(np.isfinite(values), values, np.nan)


def category_values(frame: pl.DataFrame, column: str) -> pl.Series:
    """A column of a category, or of a truth value, as levels."""
    return levels(as_strings(_series(frame, column)))


def as_strings(series: pl.Series) -> pl.Series:
    """Values as strings, numbers as levels; of texts with their vectors, the texts."""
    if isinstance(series.dtype, pl.Struct):
        return series.struct.field(TEXT_FIELD).cast(pl.String).alias(series.name)
    return number_levels(series) if series.dtype.is_numeric() else series.cast(pl.String)


def as_vectors(series: pl.Series, dimensions: int) -> Vectors:
    """A column of vectors as a matrix; of texts with their vectors, the vectors.

    Args:
        series: lists of numbers.
        dimensions: length of each list.

    Returns:
        Shape (rows, dimensions); nan in rows without a vector.

    Raises:
        InvalidError: the column holds something else, or lists of another length.
    """
    column = series.name
    if isinstance(series.dtype, pl.Struct):
        series = series.struct.field(VECTOR_FIELD)
    found = np.full((len(series), dimensions), np.nan, dtype=np.float32)
    if series.dtype == pl.Null:
        return found
    if not isinstance(series.dtype, pl.List | pl.Array) or not series.dtype.inner.is_numeric():
        raise InvalidError(
            f"column {column!r} has type {series.dtype}, declared vector; send lists of {dimensions} numbers",
            column=column,
            type=str(series.dtype),
        )
    lists = series.cast(pl.List(pl.Float32))
    present = lists.is_not_null()
    sizes = lists.list.len().filter(present)
    if (other := sizes.filter(sizes != dimensions)).len():
        raise InvalidError(
            f"column {column!r} has vectors of {other[0]} numbers, but those of the reference have {dimensions}; a "
            "new model needs a new column or a new baseline",
            column=column,
            dimensions=dimensions,
        )
    flat = lists.filter(present).list.explode(empty_as_null=False, keep_nulls=False).to_numpy()
    found[present.to_numpy()] = flat.reshape(-1, dimensions)
    return found


def dimensions_of(series: pl.Series) -> int:
    """The length of the first vector of a column; 1 where the column has none."""
    lists = (series.struct.field(VECTOR_FIELD) if isinstance(series.dtype, pl.Struct) else series).drop_nulls()
    return len(lists[0]) if len(lists) and lists.dtype.is_nested() else 1


def derived_columns(
    series: pl.Series, text: TextEncoder | None, vector: VectorEncoder | None
) -> tuple[dict[str, Floats], pl.Series]:
    """The numbers derived from a text or vector column by name, and its cluster as a category."""
    column = series.name
    numbers: dict[str, Floats] = {}
    if vector is not None:
        of_vectors = vector.encode(as_vectors(series, len(vector.centre)))
        distance, components, clusters = of_vectors.distance, of_vectors.components, of_vectors.cluster
    if text is not None:
        texts = as_strings(series).to_list()
        if vector is None:
            of_texts = text.encode(texts)
            distance, components, clusters = of_texts.distance, of_texts.components, of_texts.cluster
        numbers = {f"{column}.oov": text.unknown(texts), f"{column}.length": text_lengths(texts)}
    numbers[f"{column}.distance"] = distance
    numbers |= {f"{column}.component_{i}": components[:, i] for i in range(COMPONENTS)}
    named = [str(c) if c >= 0 else None for c in clusters.tolist()]
    return numbers, pl.Series(f"{column}.cluster", named, dtype=pl.String)


def level_codes(values: pl.Series, known: CategoryLevels) -> tuple[Ints, Sequence[str]]:
    """The code of each value, and the names of the codes after the dictionary; see `CodedColumns`."""
    at, names = distinct_levels(values)
    new = sorted(name for name in names if name not in known.place) if known.wide else []
    beyond = {name: len(known.levels) + i for i, name in enumerate(new)}
    codes = [known.place.get(name, beyond.get(name, UNKNOWN_CODE)) for name in names]
    return np.array([*codes, known.null_code], dtype=np.int64)[at], new


def distinct_levels(values: pl.Series) -> tuple[Ints, list[str]]:
    """The levels that occur, and for each value the index of its level; the number of levels for no value."""
    # A separate numbering, because Polars' global one continues over all columns in memory.
    numbering = pl.Categories.random()
    coded = values.cast(pl.Categorical(numbering))
    texts = numbering.to_series().to_list()  # before `coded` is freed, because it alone keeps them in memory
    at = coded.to_physical().fill_null(len(texts)).cast(pl.Int64).to_numpy()
    named = [level(text) for text in texts]  # rows of older homes and of files are not all stored as levels
    if named == texts:
        return at, texts
    names = list(dict.fromkeys(name for name in named if name is not None))
    place = {name: code for code, name in enumerate(names)}
    codes = [len(names) if name is None else place[name] for name in named]
    return np.array([*codes, len(names)], dtype=np.int64)[at], names


def _series(frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns:
        raise InvalidError(f"column {column!r} is not in the rows; send it or do not watch it", column=column)
    return frame[column]

"""How rows become numbers that can be counted: bins, levels and encoders, all of the baseline's making."""

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
from monitor.profile.binning import CellTable, cell_table
from monitor.profile.text_encoder import COMPONENTS, TextEncoder, text_lengths
from monitor.profile.vector_encoder import VectorEncoder, Vectors

MAX_FOLDS: Final = 4
UNKNOWN_CODE: Final = -1
NULL_CODE: Final = -2
# Fields of a text column with the vectors that a model made of it beside it.
TEXT_FIELD: Final = "text"
VECTOR_FIELD: Final = "vector"
DERIVED_PARTS: Final = ("cluster", "oov", "distance", "length", *(f"component_{i}" for i in range(COMPONENTS)))


@dataclass(frozen=True, eq=False)
class NumberBins:
    """Bin b holds edges[b-1] < x <= edges[b]; the first and the last bin are open."""

    edges: Floats
    grid: tuple[int, ...]  # which edges the decision rule reads the distribution function at
    tests: tuple[str, ...]  # of location, spread, below, missing

    @cached_property
    def table(self) -> CellTable | None:
        return cell_table(self.edges)


@dataclass(frozen=True, eq=False)
class CategoryLevels:
    """The reference's levels with their counts per fold of reference blocks.

    "Other" and "unseen" are judged by the reference without the block's own fold. A list taken from the whole
    reference fits the reference better than any window, and every window would look as if it had new levels.
    """

    kept: tuple[str, ...]
    levels: tuple[str, ...]
    counts: Ints  # (levels, folds)
    most: int  # length of the list of most frequent levels
    listed: NDArray[np.bool_]  # (levels, folds): among the most frequent without the fold
    known: NDArray[np.bool_]  # (levels, folds): seen without the fold

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The code of each level."""
        return {level: code for code, level in enumerate(self.levels)}

    @property
    def wide(self) -> bool:
        """More levels than are kept: the most frequent ones are then chosen among those of all blocks compared."""
        return len(self.levels) > self.most


@dataclass(frozen=True, eq=False)
class Coding:
    """How rows become counts. Derived columns of a text or vector `c` are `c.oov`, `c.distance`, ... in the two tables.

    A text that a model turned into vectors has both encoders: unknown words and length come from the text, distance,
    cluster and components from the vectors. `words`: of the clusters of a text column, the words that tell each.
    """

    numbers: Mapping[str, NumberBins]
    categories: Mapping[str, CategoryLevels]
    texts: Mapping[str, TextEncoder]
    vectors: Mapping[str, VectorEncoder]
    words: Mapping[str, tuple[tuple[str, ...], ...]]

    @property
    def encoded(self) -> tuple[str, ...]:
        """Columns that are watched by derived ones."""
        return tuple({**self.texts, **self.vectors})

    @property
    def columns(self) -> list[str]:
        """The columns that rows must have."""
        derived = {f"{name}.{part}" for name in self.encoded for part in DERIVED_PARTS}
        return [*self.encoded, *(name for name in (*self.numbers, *self.categories) if name not in derived)]


class HasCoding(Protocol):
    """Anything that carries a coding; in practice the baseline."""

    @property
    def coding(self) -> Coding: ...


@dataclass(frozen=True, eq=False)
class CodedColumns:
    """Rows as values and level codes, before they are counted into blocks.

    A code is the index of the level in the baseline's dictionary, -1 unknown, -2 null. In a wide column an unknown
    level has a code of its own beyond the dictionary: `new` names those, in the order of their codes.
    """

    numbers: Mapping[str, Floats]
    categories: Mapping[str, Ints]
    new: Mapping[str, Sequence[str]]


def coded_columns(frame: pl.DataFrame, coding: Coding) -> CodedColumns:
    """Every column of the coding, derived ones too."""
    coded = [coded_column(_series(frame, name), coding) for name in coding.columns]
    return CodedColumns(
        {name: values for one in coded for name, values in one.numbers.items()},
        {name: codes for one in coded for name, codes in one.categories.items()},
        {name: new for one in coded for name, new in one.new.items()},
    )


def coded_column(series: pl.Series, coding: Coding) -> CodedColumns:
    """One column of the rows, or what is derived of it if it is a text or vector."""
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
    with np.errstate(over="ignore", invalid="ignore"):  # a sum of huge values: then each is looked at
        finite = np.isfinite(values.sum())
    if finite:  # nearly always; one pass instead of two copies
        return values
    return np.where(np.isfinite(values), values, np.nan)


def category_values(frame: pl.DataFrame, column: str) -> pl.Series:
    return as_strings(_series(frame, column))


def as_strings(series: pl.Series) -> pl.Series:
    """Values as text; of a text with the vectors that a model made of it, the text."""
    if isinstance(series.dtype, pl.Struct):
        return series.struct.field(TEXT_FIELD).cast(pl.String).alias(series.name)
    return series.cast(pl.String)


def as_vectors(series: pl.Series, dimensions: int) -> Vectors:
    """A column of lists as a matrix, nan in rows without a vector; of a text, the vectors that a model made of it."""
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
            f"column {column!r} has vectors of {other[0]} numbers, those of the reference have {dimensions}; a new "
            "model needs a new column or a new baseline",
            column=column,
            dimensions=dimensions,
        )
    flat = lists.filter(present).list.explode(empty_as_null=False, keep_nulls=False).to_numpy()
    found[present.to_numpy()] = flat.reshape(-1, dimensions)
    return found


def dimensions_of(series: pl.Series) -> int:
    """Numbers of the first vector of a column; 1 where there is none."""
    lists = (series.struct.field(VECTOR_FIELD) if isinstance(series.dtype, pl.Struct) else series).drop_nulls()
    return len(lists[0]) if len(lists) and lists.dtype.is_nested() else 1


def derived_columns(
    series: pl.Series, text: TextEncoder | None, vector: VectorEncoder | None
) -> tuple[dict[str, Floats], pl.Series]:
    """The derived numbers of one text or vector column, and its cluster as a category."""
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
    """Codes of the values, and the names of the codes beyond the dictionary; see `CodedColumns`."""
    at, names = distinct_levels(values)
    new = sorted(name for name in names if name not in known.place) if known.wide else []
    beyond = {name: len(known.levels) + i for i, name in enumerate(new)}
    codes = [known.place.get(name, beyond.get(name, UNKNOWN_CODE)) for name in names]
    return np.array([*codes, NULL_CODE], dtype=np.int64)[at], new


def distinct_levels(values: pl.Series) -> tuple[Ints, list[str]]:
    """For each value the place of its level in the list of all that occur, one past its end for null."""
    # A numbering of our own: the shared one counts on over all columns that are alive.
    numbering = pl.Categories.random()
    coded = values.cast(pl.Categorical(numbering))
    names = numbering.to_series().to_list()  # while `coded` lives, which alone holds them
    return coded.to_physical().fill_null(len(names)).cast(pl.Int64).to_numpy(), names


def _series(frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns:
        raise InvalidError(f"column {column!r} is not in the rows; send it or do not watch it", column=column)
    return frame[column]

"""How rows become numbers that can be counted: bins, levels and text encoders, all of the baseline's making."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.binning import CellTable, cell_table
from monitor.text import COMPONENTS, TextEncoder

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOLDS: Final = 4
SEEN_NOWHERE: Final = -1
NULL: Final = -2
DERIVED: Final = ("cluster", "oov", "distance", "length", *(f"component_{i}" for i in range(COMPONENTS)))


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
    """How rows become counts. Derived columns of a text column `c` are `c.oov`, `c.distance`, ... in the two tables."""

    numbers: Mapping[str, NumberBins]
    categories: Mapping[str, CategoryLevels]
    texts: Mapping[str, TextEncoder]

    @property
    def columns(self) -> list[str]:
        """The columns that rows must have."""
        derived = {f"{text}.{part}" for text in self.texts for part in DERIVED}
        return [*self.texts, *(name for name in (*self.numbers, *self.categories) if name not in derived)]


class Coded(Protocol):
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
    """One column of the rows, or what is derived of it if it is a text."""
    name = series.name
    if name in coding.texts:
        numbers, cluster = text_columns(series, coding.texts[name])
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
    return series.cast(pl.String)


def text_columns(series: pl.Series, encoder: TextEncoder) -> tuple[dict[str, Floats], pl.Series]:
    """The derived numbers of one text column, and its cluster as a category."""
    features = encoder.encode(as_strings(series).to_list())
    column = series.name
    numbers = {
        f"{column}.oov": features.oov,
        f"{column}.distance": features.distance,
        f"{column}.length": features.length,
    }
    numbers |= {f"{column}.component_{i}": features.components[:, i] for i in range(COMPONENTS)}
    clusters = [str(c) if c >= 0 else None for c in features.cluster.tolist()]
    return numbers, pl.Series(f"{column}.cluster", clusters, dtype=pl.String)


def level_codes(values: pl.Series, known: CategoryLevels) -> tuple[Ints, Sequence[str]]:
    """Codes of the values, and the names of the codes beyond the dictionary; see `CodedColumns`."""
    at, names = distinct_levels(values)
    new = sorted(name for name in names if name not in known.place) if known.wide else []
    beyond = {name: len(known.levels) + i for i, name in enumerate(new)}
    codes = [known.place.get(name, beyond.get(name, SEEN_NOWHERE)) for name in names]
    return np.array([*codes, NULL], dtype=np.int64)[at], new


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

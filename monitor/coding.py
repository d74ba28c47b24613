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
    numbers: dict[str, Floats] = {}
    levels: dict[str, pl.Series] = {}
    for column, encoder in coding.texts.items():
        derived, levels[f"{column}.cluster"] = text_columns(frame, column, encoder)
        numbers |= derived
    for column in coding.numbers:
        if column not in numbers:
            numbers[column] = number_values(frame, column)
    categories: dict[str, Ints] = {}
    new: dict[str, Sequence[str]] = {}
    for column, known in coding.categories.items():
        values = levels[column] if column in levels else category_values(frame, column)
        categories[column], new[column] = level_codes(values, known)
    return CodedColumns(numbers, categories, new)


def number_values(frame: pl.DataFrame, column: str) -> Floats:
    """A column as float64 with nan where it is null, nan or infinite."""
    series = _series(frame, column)
    if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise InvalidError(
            f"column {column!r} has type {series.dtype}, declared number; send numbers or declare it a category",
            column=column,
            type=str(series.dtype),
        )
    values = series.cast(pl.Float64).fill_null(math.nan).to_numpy()
    if np.isfinite(values.sum()):  # nearly always; one pass instead of two copies
        return values
    return np.where(np.isfinite(values), values, np.nan)


def category_values(frame: pl.DataFrame, column: str) -> pl.Series:
    return _series(frame, column).cast(pl.String)


def text_columns(frame: pl.DataFrame, column: str, encoder: TextEncoder) -> tuple[dict[str, Floats], pl.Series]:
    """The derived numbers of one text column, and its cluster as a category."""
    features = encoder.encode(category_values(frame, column).to_list())
    numbers = {
        f"{column}.oov": features.oov,
        f"{column}.distance": features.distance,
        f"{column}.length": features.length,
    }
    numbers |= {f"{column}.component_{i}": features.components[:, i] for i in range(COMPONENTS)}
    cluster = pl.Series([str(c) if c >= 0 else None for c in features.cluster.tolist()], dtype=pl.String)
    return numbers, cluster


def level_codes(values: pl.Series, known: CategoryLevels) -> tuple[Ints, Sequence[str]]:
    """Codes of the values, and the names of the codes beyond the dictionary; see `CodedColumns`."""
    distinct = values.unique(maintain_order=False).drop_nulls().sort()
    place = {level: code for code, level in enumerate(known.levels)}
    new = [level for level in distinct if level not in place] if known.wide else []
    place |= {level: len(known.levels) + i for i, level in enumerate(new)}
    codes = [place.get(level, SEEN_NOWHERE) for level in distinct]
    coded = values.replace_strict(distinct, pl.Series(codes, dtype=pl.Int64), default=NULL, return_dtype=pl.Int64)
    return coded.to_numpy().astype(np.int64), new


def _series(frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns:
        raise InvalidError(f"column {column!r} is not in the rows; send it or do not watch it", column=column)
    return frame[column]

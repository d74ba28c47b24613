"""Block profiles: what is kept of the rows of one block. Adding two profiles gives the profile of both blocks' rows.

Bins and levels belong to the baseline, so profiles of any two blocks of one model compare and add. Everything the
decision rule needs is linear in the counts kept here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.text import COMPONENTS, TextEncoder

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOLDS: Final = 4
_SEEN_NOWHERE: Final = -1
_NULL: Final = -2


@dataclass(frozen=True, eq=False)
class NumberBins:
    """Bin b holds edges[b-1] < x <= edges[b]; the first and the last bin are open."""

    edges: Floats
    grid: tuple[int, ...]  # which edges the decision rule reads the distribution function at
    tests: tuple[str, ...]  # of location, spread, below, missing


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
class NumberCounts:
    counts: Ints  # per bin
    nulls: int  # null, nan or infinite
    total: float  # sum of the finite values
    squares: float
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, eq=False)
class CategoryCounts:
    levels: Ints  # per kept level
    nulls: int
    other: Ints  # per fold: known without that fold, but not among its most frequent
    unseen: Ints  # per fold: not known without that fold


@dataclass(frozen=True, eq=False)
class BlockProfile:
    rows: int
    numbers: Mapping[str, NumberCounts]
    categories: Mapping[str, CategoryCounts]


def equal_blocks(rows: int, block_rows: int) -> Ints:
    """Block number of each row when rows in time order are cut every `block_rows` rows.

    A remainder shorter than half a block joins the block before it, so no block is much smaller than the others.
    """
    if block_rows < 1:
        raise InvalidError(f"block_rows is {block_rows}; give at least 1 row", block_rows=block_rows)
    whole, rest = divmod(rows, block_rows)
    last = whole if rest * 2 >= block_rows else whole - 1
    return np.minimum(np.arange(rows, dtype=np.int64) // block_rows, max(last, 0))


def profile(frame: pl.DataFrame, baseline: Coded, blocks: NDArray[np.int64]) -> tuple[BlockProfile, ...]:
    """Profile each block of a frame.

    Args:
        frame: rows with every column of the baseline; null, nan and infinite numbers count as missing.
        baseline: whose bins, levels and text encoders are used.
        blocks: block number of each row, shape (rows,), integers >= 0.

    Returns:
        One profile per block 0..max(blocks); a block without rows has rows = 0.

    Raises:
        InvalidError: a column is absent, is no number, or blocks do not match the rows.
    """
    if len(blocks) != frame.height:
        raise InvalidError(
            f"blocks has {len(blocks)} entries for {frame.height} rows; give one block number per row",
            blocks=len(blocks),
            rows=frame.height,
        )
    count = int(blocks.max()) + 1 if len(blocks) else 0
    return profile_coded(coded_columns(frame, baseline.coding), baseline.coding, blocks, count)


def profile_block(frame: pl.DataFrame, baseline: Coded) -> BlockProfile:
    """Profile all rows of a frame as one block; see `profile`."""
    if not frame.height:
        return _empty(baseline.coding)
    return profile(frame, baseline, np.zeros(frame.height, dtype=np.int64))[0]


def merge(a: BlockProfile, b: BlockProfile) -> BlockProfile:
    """The profile of the rows of both. Sums of values are exact to rounding, counts are exact."""
    return BlockProfile(
        rows=a.rows + b.rows,
        numbers={name: _merge_numbers(a.numbers[name], b.numbers[name]) for name in a.numbers},
        categories={name: _merge_categories(a.categories[name], b.categories[name]) for name in a.categories},
    )


def merge_all(blocks: Sequence[BlockProfile]) -> BlockProfile:
    """The profile of the rows of all blocks; at least one block."""
    if not blocks:
        raise InvalidError("no block to merge; give at least one", blocks=0)
    total = blocks[0]
    for block in blocks[1:]:
        total = merge(total, block)
    return total


def to_json(block: BlockProfile) -> str:
    """Compact JSON; `from_json` gives back an equal profile."""
    return json.dumps(block_to_dict(block), separators=(",", ":"), sort_keys=True, allow_nan=False)


def from_json(text: str) -> BlockProfile:
    return block_from_dict(json.loads(text))


def block_to_dict(block: BlockProfile) -> dict[str, Any]:
    return {
        "rows": block.rows,
        "numbers": {
            name: [_packed(c.counts), c.nulls, c.total, c.squares, c.minimum, c.maximum]
            for name, c in block.numbers.items()
        },
        "categories": {
            name: [_packed(c.levels), c.nulls, c.other.tolist(), c.unseen.tolist()]
            for name, c in block.categories.items()
        },
    }


def block_from_dict(data: Mapping[str, Any]) -> BlockProfile:
    return BlockProfile(
        rows=data["rows"],
        numbers={n: NumberCounts(_unpacked(v[0]), *v[1:]) for n, v in data["numbers"].items()},
        categories={
            n: CategoryCounts(_unpacked(v[0]), v[1], np.array(v[2], dtype=np.int64), np.array(v[3], dtype=np.int64))
            for n, v in data["categories"].items()
        },
    )


def number_values(frame: pl.DataFrame, column: str) -> Floats:
    """A column as float64 with nan where it is null, nan or infinite."""
    series = _series(frame, column)
    if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise InvalidError(
            f"column {column!r} has type {series.dtype}, declared number; send numbers or declare it a category",
            column=column,
            type=str(series.dtype),
        )
    values = series.cast(pl.Float64).fill_null(math.nan).to_numpy().astype(np.float64)
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


@dataclass(frozen=True, eq=False)
class CodedColumns:
    """Rows as values and level codes, before they are counted into blocks."""

    numbers: Mapping[str, Floats]
    categories: Mapping[str, Ints]  # index of the level in the baseline's dictionary, -1 unknown, -2 null


def coded_columns(frame: pl.DataFrame, coding: Coding) -> CodedColumns:
    numbers: dict[str, Floats] = {}
    categories: dict[str, Ints] = {}
    for column, encoder in coding.texts.items():
        derived, cluster = text_columns(frame, column, encoder)
        numbers |= derived
        categories[f"{column}.cluster"] = level_codes(cluster, coding.categories[f"{column}.cluster"].levels)
    for column in coding.numbers:
        if column not in numbers:
            numbers[column] = number_values(frame, column)
    for column, levels in coding.categories.items():
        if column not in categories:
            categories[column] = level_codes(category_values(frame, column), levels.levels)
    return CodedColumns(numbers, categories)


def level_codes(values: pl.Series, levels: Sequence[str]) -> Ints:
    table = pl.DataFrame({"level": pl.Series(levels, dtype=pl.String), "code": np.arange(len(levels), dtype=np.int64)})
    joined = pl.DataFrame({"level": values}).join(table, on="level", how="left", maintain_order="left")
    codes = joined["code"].fill_null(_SEEN_NOWHERE).to_numpy().astype(np.int64)
    return np.where(values.is_null().to_numpy(), _NULL, codes)


def profile_coded(columns: CodedColumns, coding: Coding, blocks: Ints, count: int) -> tuple[BlockProfile, ...]:
    rows = np.bincount(blocks, minlength=count)
    numbers = {name: _count_numbers(columns.numbers[name], b, blocks, count) for name, b in coding.numbers.items()}
    categories = {
        name: _count_levels(columns.categories[name], c, blocks, count) for name, c in coding.categories.items()
    }
    return tuple(
        BlockProfile(
            rows=int(rows[t]),
            numbers={name: per_block[t] for name, per_block in numbers.items()},
            categories={name: per_block[t] for name, per_block in categories.items()},
        )
        for t in range(count)
    )


def _count_numbers(values: Floats, bins: NumberBins, blocks: Ints, count: int) -> list[NumberCounts]:
    present = np.isfinite(values)
    x, at = values[present], blocks[present]
    width = len(bins.edges) + 1
    cells = at * width + np.searchsorted(bins.edges, x, side="left")
    counts = np.bincount(cells, minlength=count * width).reshape(count, width).astype(np.int64)
    nulls = np.bincount(blocks[~present], minlength=count)
    totals = np.bincount(at, weights=x, minlength=count)
    with np.errstate(over="ignore"):
        squares = np.bincount(at, weights=x * x, minlength=count)
    squares = np.minimum(squares, np.finfo(np.float64).max)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, at, x)
    np.maximum.at(high, at, x)
    return [
        NumberCounts(
            counts[t],
            int(nulls[t]),
            float(totals[t]),
            float(squares[t]),
            float(low[t]) if math.isfinite(low[t]) else None,
            float(high[t]) if math.isfinite(high[t]) else None,
        )
        for t in range(count)
    ]


def _count_levels(codes: Ints, levels: CategoryLevels, blocks: Ints, count: int) -> list[CategoryCounts]:
    size = len(levels.levels)
    shifted = np.where(codes >= 0, codes, size - 1 - codes)  # -1 -> size, -2 -> size + 1
    cells = blocks * (size + 2) + shifted
    table = np.bincount(cells, minlength=count * (size + 2)).reshape(count, size + 2).astype(np.int64)
    known, nowhere, nulls = table[:, :size], table[:, size], table[:, size + 1]
    position = {level: i for i, level in enumerate(levels.levels)}
    kept = known[:, [position[level] for level in levels.kept]]
    other = known @ (levels.known & ~levels.listed).astype(np.int64)
    unseen = known @ (~levels.known).astype(np.int64) + nowhere[:, None]
    return [CategoryCounts(kept[t], int(nulls[t]), other[t], unseen[t]) for t in range(count)]


def _merge_numbers(a: NumberCounts, b: NumberCounts) -> NumberCounts:
    lows = [x for x in (a.minimum, b.minimum) if x is not None]
    highs = [x for x in (a.maximum, b.maximum) if x is not None]
    return NumberCounts(
        a.counts + b.counts,
        a.nulls + b.nulls,
        a.total + b.total,
        min(a.squares + b.squares, float(np.finfo(np.float64).max)),
        min(lows) if lows else None,
        max(highs) if highs else None,
    )


def _merge_categories(a: CategoryCounts, b: CategoryCounts) -> CategoryCounts:
    return CategoryCounts(a.levels + b.levels, a.nulls + b.nulls, a.other + b.other, a.unseen + b.unseen)


def _empty(coding: Coding) -> BlockProfile:
    return BlockProfile(
        rows=0,
        numbers={
            n: NumberCounts(np.zeros(len(b.edges) + 1, dtype=np.int64), 0, 0.0, 0.0, None, None)
            for n, b in coding.numbers.items()
        },
        categories={
            n: CategoryCounts(
                np.zeros(len(c.kept), dtype=np.int64),
                0,
                np.zeros(c.known.shape[1], dtype=np.int64),
                np.zeros(c.known.shape[1], dtype=np.int64),
            )
            for n, c in coding.categories.items()
        },
    )


def _packed(counts: Ints) -> list[Any]:
    """[length, counts], or [length, [index, count, ...], 1] when most counts are zero: blocks are small, bins many."""
    filled = np.flatnonzero(counts)
    if 2 * len(filled) >= len(counts):
        return [len(counts), counts.tolist()]
    return [len(counts), np.column_stack([filled, counts[filled]]).ravel().tolist(), 1]


def _unpacked(packed: Sequence[Any]) -> Ints:
    if len(packed) == 2:
        return np.array(packed[1], dtype=np.int64).reshape(packed[0])
    pairs = np.array(packed[1], dtype=np.int64).reshape(-1, 2)
    counts = np.zeros(packed[0], dtype=np.int64)
    counts[pairs[:, 0]] = pairs[:, 1]
    return counts


def _series(frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns:
        raise InvalidError(f"column {column!r} is not in the rows; send it or do not watch it", column=column)
    return frame[column]

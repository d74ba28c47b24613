"""Block profiles: what is kept of the rows of one block. Adding two profiles gives the profile of both blocks' rows.

Bins and levels belong to the baseline, so profiles of any two blocks of one model compare and add. Everything the
decision rule needs is linear in the counts kept here.
"""

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.binning import bin_numbers
from monitor.coding import CategoryLevels, Coded, CodedColumns, Coding, Floats, Ints, NumberBins, coded_columns

# Of a wide column each block keeps this many of its most frequent levels by name, whatever the reference knows.
HITTERS: Final = 64
THREADS: Final = 2
SERIAL_ROWS: Final = 50_000  # below, threads cost more than they save
_DENSE: Final = 4_000_000  # cells of blocks times levels that are counted in one plain array


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
    hitters: Mapping[str, int] = field(default_factory=dict)  # of a wide column: its most frequent levels


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
        return empty_profile(baseline.coding)
    return profile(frame, baseline, np.zeros(frame.height, dtype=np.int64))[0]


def merge_all(blocks: Sequence[BlockProfile]) -> BlockProfile:
    """The profile of the rows of all blocks, at least one. Counts are exact, sums of values exact to rounding."""
    if not blocks:
        raise InvalidError("no block to merge; give at least one", blocks=0)
    return BlockProfile(
        rows=sum(block.rows for block in blocks),
        numbers={name: _merge_numbers([block.numbers[name] for block in blocks]) for name in blocks[0].numbers},
        categories={name: _merge_levels([b.categories[name] for b in blocks]) for name in blocks[0].categories},
    )


def profile_coded(columns: CodedColumns, coding: Coding, blocks: Ints, count: int) -> tuple[BlockProfile, ...]:
    """Profiles of blocks 0..count-1. Columns are counted side by side: numpy leaves the interpreter while it works."""
    rows = np.bincount(blocks, minlength=count)
    order = None if np.all(blocks[1:] >= blocks[:-1]) else np.argsort(blocks, kind="stable")
    runs = _Runs(blocks if order is None else blocks[order], rows, order)

    def number(name: str) -> list[NumberCounts]:
        return _count_numbers(columns.numbers[name], coding.numbers[name], runs)

    def category(name: str) -> list[CategoryCounts]:
        codes, new = columns.categories[name], columns.new.get(name, ())
        return _count_levels(codes, new, coding.categories[name], blocks, count)

    if len(blocks) <= SERIAL_ROWS:
        numbers = {name: number(name) for name in coding.numbers}
        categories = {name: category(name) for name in coding.categories}
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            numbers = dict(zip(coding.numbers, pool.map(number, coding.numbers), strict=True))
            categories = dict(zip(coding.categories, pool.map(category, coding.categories), strict=True))
    return tuple(
        BlockProfile(
            rows=int(rows[t]),
            numbers={name: per_block[t] for name, per_block in numbers.items()},
            categories={name: per_block[t] for name, per_block in categories.items()},
        )
        for t in range(count)
    )


@dataclass(frozen=True, eq=False)
class _Runs:
    """Rows in order of their block: the block of each, the rows of each block, and the order, None for as they come."""

    blocks: Ints
    rows: Ints
    order: Ints | None


def _count_numbers(values: Floats, bins: NumberBins, runs: _Runs) -> list[NumberCounts]:
    x = values if runs.order is None else values[runs.order]
    at, count = runs.blocks, len(runs.rows)
    if not np.isfinite(x.sum()):  # nearly always finite; a sum is cheaper than a mask
        present = np.isfinite(x)
        x, at = x[present], at[present]
        nulls = runs.rows - np.bincount(at, minlength=count)
    else:
        nulls = np.zeros(count, dtype=np.int64)
    width = len(bins.edges) + 1
    cells = at * width
    cells += bin_numbers(x, bins.edges, bins.table)
    counts = np.bincount(cells, minlength=count * width).reshape(count, width).astype(np.int64)
    totals, squares = np.zeros(count), np.zeros(count)
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    if len(x):
        starts = np.flatnonzero(np.diff(at, prepend=-1))
        filled = at[starts]
        with np.errstate(over="ignore"):
            totals[filled] = np.add.reduceat(x, starts)
            squares[filled] = np.minimum(np.add.reduceat(x * x, starts), np.finfo(np.float64).max)
        low[filled], high[filled] = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    return [
        NumberCounts(
            counts[t], int(nulls[t]), float(totals[t]), float(squares[t]),
            None if math.isnan(low[t]) else float(low[t]), None if math.isnan(high[t]) else float(high[t]),
        )
        for t in range(count)
    ]  # fmt: skip


def _count_levels(
    codes: Ints, new: Sequence[str], levels: CategoryLevels, blocks: Ints, count: int
) -> list[CategoryCounts]:
    size = len(levels.levels)
    width = size + len(new) + 2
    block, code, n = _cells(blocks, np.where(codes >= 0, codes, width + codes), count, width)
    folds = levels.known.shape[1]
    nulls = np.bincount(block[code == width - 2], weights=n[code == width - 2], minlength=count)
    in_dictionary = code < size
    at, of, many = block[in_dictionary], code[in_dictionary], n[in_dictionary]
    nowhere = np.bincount(block, weights=n, minlength=count) - nulls - np.bincount(at, weights=many, minlength=count)
    remainder = levels.known & ~levels.listed
    other, unseen = np.empty((count, folds), dtype=np.int64), np.empty((count, folds), dtype=np.int64)
    for fold in range(folds):
        other[:, fold] = np.bincount(at, weights=many * remainder[of, fold], minlength=count)
        unseen[:, fold] = np.bincount(at, weights=many * ~levels.known[of, fold], minlength=count) + nowhere
    position = {level: i for i, level in enumerate(levels.levels)}
    kept = np.zeros((count, len(levels.kept)), dtype=np.int64)
    place = np.full(size, -1, dtype=np.int64)
    place[[position[level] for level in levels.kept]] = np.arange(len(levels.kept))
    chosen = place[of] >= 0
    kept[at[chosen], place[of[chosen]]] = many[chosen]
    hitters = _hitters(block, code, n, [*levels.levels, *new], count) if levels.wide else [{} for _ in range(count)]
    return [CategoryCounts(kept[t], int(nulls[t]), other[t], unseen[t], hitters[t]) for t in range(count)]


def _cells(blocks: Ints, codes: Ints, count: int, width: int) -> tuple[Ints, Ints, Ints]:
    """Block, code and number of rows of every pair that occurs."""
    at = blocks * width + codes
    if count * width <= _DENSE:
        table = np.bincount(at, minlength=count * width)
        filled = np.flatnonzero(table)
        return filled // width, filled % width, table[filled].astype(np.int64)
    filled, n = np.unique(at, return_counts=True)
    return filled // width, filled % width, n.astype(np.int64)


def _hitters(block: Ints, code: Ints, n: Ints, names: Sequence[str], count: int) -> list[dict[str, int]]:
    """The most frequent levels of each block. A level that comes once tells nothing and is left out.

    The reference's levels and new ones are treated alike, also where counts are equal: a list that favours either would
    make reference and window differ without any change.
    """
    often = np.flatnonzero((code < len(names)) & (n > 1))
    tie = np.array([zlib.crc32(names[c].encode()) for c in code[often].tolist()], dtype=np.int64)
    order = often[np.lexsort((tie, -n[often], block[often]))]
    found: list[dict[str, int]] = [{} for _ in range(count)]
    for b, c, many in zip(block[order].tolist(), code[order].tolist(), n[order].tolist(), strict=True):
        if len(found[b]) < HITTERS:
            found[b][names[c]] = many
    return found


def _merge_numbers(parts: Sequence[NumberCounts]) -> NumberCounts:
    return NumberCounts(
        np.add.reduce([part.counts for part in parts]),
        sum(part.nulls for part in parts),
        sum(part.total for part in parts),
        min(sum(part.squares for part in parts), float(np.finfo(np.float64).max)),
        min((part.minimum for part in parts if part.minimum is not None), default=None),
        max((part.maximum for part in parts if part.maximum is not None), default=None),
    )


def _merge_levels(parts: Sequence[CategoryCounts]) -> CategoryCounts:
    hitters: Counter[str] = Counter()
    for part in parts:
        hitters.update(part.hitters)
    return CategoryCounts(
        np.add.reduce([part.levels for part in parts]),
        sum(part.nulls for part in parts),
        np.add.reduce([part.other for part in parts]),
        np.add.reduce([part.unseen for part in parts]),
        dict(hitters),
    )


def empty_profile(coding: Coding) -> BlockProfile:
    """The profile of no rows."""
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

"""Counts of coded rows by block: how many rows are in each bin or have each level, and the moments of numbers."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.profile.binning import VALUES_PER_PASS, bin_numbers
from monitor.profile.coding import NULL_CODE, CategoryLevels, NumberBins

# Heavy hitters: in a wide column, each block stores its most frequent levels by name, known to the reference or not.
MAX_HITTERS: Final = 64
_MAX_FLOAT: Final = np.finfo(np.float64).max
_MAX_SPAN_ROWS: Final = 1 << 16  # rows of neighbouring blocks that are counted together, so that they stay in the cache
_MAX_DENSE_CELLS: Final = 4_000_000  # blocks times levels, up to which one plain array is counted


@dataclass(frozen=True, eq=False)
class NumberCounts:
    """Counts of one number in one block."""

    counts: Ints  # per bin
    nulls: int  # null, nan or infinite
    total: float  # sum of the finite values
    squares: float
    minimum: float | None
    maximum: float | None

    @property
    def variance(self) -> float:
        """Variance of the values; 0 without values, or where they are too large to be squared."""
        n = int(self.counts.sum())
        if not n:
            return 0.0
        mean = self.total / n
        found = self.squares / n - mean * mean
        return found if found > 0.0 else 0.0


@dataclass(frozen=True, eq=False)
class CategoryCounts:
    """Counts of one category in one block."""

    levels: Ints  # per kept level
    nulls: int
    other: Ints  # per fold: levels known in the other folds, but not among the most frequent there
    unseen: Ints  # per fold: levels that are in no other fold
    hitters: Mapping[str, int] = field(default_factory=dict)  # in a wide column: its most frequent levels


@dataclass(frozen=True, eq=False)
class _BlockSpan:
    """Rows of neighbouring blocks.

    `at`: block of each row. `filled`: the blocks that have rows. `starts`: index of the first row of each of these.
    """

    begin: int
    end: int
    at: Ints
    filled: Ints
    starts: Ints


@dataclass(frozen=True, eq=False)
class BlockIndex:
    """Which rows belong to which block; computed once, because it is the same for every column.

    `blocks`: block of each row. `rows`: number of rows in each block. `order`: of the rows by block; None where they
    are in this order already.
    """

    blocks: Ints
    rows: Ints
    order: Ints | None
    spans: Sequence[_BlockSpan]


def index_blocks(blocks: Ints, count: int) -> BlockIndex:
    """Index rows by block.

    Args:
        blocks: block number of each row, shape (rows,), integers 0..count-1 in any order.
        count: number of blocks.
    """
    rows = np.bincount(blocks, minlength=count)
    order = None if np.all(blocks[1:] >= blocks[:-1]) else np.argsort(blocks, kind="stable")
    at = blocks if order is None else blocks[order]
    ends = np.cumsum(rows)
    spans, begin = [], 0
    while begin < len(at):
        last = max(int(np.searchsorted(ends, begin + _MAX_SPAN_ROWS, side="right")) - 1, int(at[begin]))
        end = int(ends[last])
        spans.append(_BlockSpan(begin, end, at[begin:end], *_block_starts(at[begin:end])))
        begin = end
    return BlockIndex(blocks, rows, order, spans)


def count_numbers(values: Floats, bins: NumberBins, index: BlockIndex) -> list[NumberCounts]:
    """Count one number in each block.

    Args:
        values: shape (rows,); nan or infinite where the value is missing.
        bins: of the column.
        index: of the blocks.

    Returns:
        One entry per block.
    """
    x = values if index.order is None else values[index.order]
    blocks = len(index.rows)
    counts = np.zeros((blocks, len(bins.edges) + 1), dtype=np.int64)
    totals, squares = np.zeros(blocks), np.zeros(blocks)
    low, high = np.full(blocks, np.nan), np.full(blocks, np.nan)
    for span in index.spans:
        part, at, filled, starts = x[span.begin : span.end], span.at, span.filled, span.starts
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(part.sum()):  # rare; a sum costs less than a mask
                present = np.isfinite(part)
                part, at = part[present], at[present]
                filled, starts = _block_starts(at)
            if not len(part):
                continue
            totals[filled] = np.add.reduceat(part, starts)
            if not np.isfinite(totals[filled]).all():  # scaled by a power of two, which loses no digits
                totals[filled] = np.clip(np.add.reduceat(part * 2.0**-64, starts) * 2.0**64, -_MAX_FLOAT, _MAX_FLOAT)
            squares[filled] = np.minimum(np.add.reduceat(part * part, starts), _MAX_FLOAT)
        low[filled], high[filled] = np.minimum.reduceat(part, starts), np.maximum.reduceat(part, starts)
        _add_bins(counts, part, at, bins)
    nulls = index.rows - counts.sum(axis=1)
    return [
        NumberCounts(
            counts[t], int(nulls[t]), float(totals[t]), float(squares[t]),
            None if math.isnan(low[t]) else float(low[t]), None if math.isnan(high[t]) else float(high[t]),
        )
        for t in range(blocks)
    ]  # fmt: skip


def _block_starts(at: Ints) -> tuple[Ints, Ints]:
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    return at[starts], starts


def _add_bins(counts: Ints, x: Floats, at: Ints, bins: NumberBins) -> None:
    width = counts.shape[1]
    for start in range(0, len(x), VALUES_PER_PASS):
        stop = min(start + VALUES_PER_PASS, len(x))
        cells = bin_numbers(x[start:stop], bins.edges, bins.table)
        first, last = int(at[start]), int(at[stop - 1])
        if first == last:
            counts[first] += np.bincount(cells, minlength=width)
        else:
            cells += (at[start:stop] - first) * width
            blocks = last - first + 1
            counts[first : last + 1] += np.bincount(cells, minlength=blocks * width).reshape(blocks, width)


def count_levels(codes: Ints, new: Sequence[str], levels: CategoryLevels, index: BlockIndex) -> list[CategoryCounts]:
    """Count one category in each block.

    Args:
        codes: shape (rows,); see `CodedColumns`.
        new: names of the codes after the dictionary; see `CodedColumns`.
        levels: of the column.
        index: of the blocks.

    Returns:
        One entry per block.
    """
    size, count = len(levels.levels), len(index.rows)
    block, code, n = _count_pairs(index.blocks, codes, count, size + len(new))
    folds = levels.known.shape[1]
    nulls = np.bincount(block[code == NULL_CODE], weights=n[code == NULL_CODE], minlength=count)
    in_dictionary = (code >= 0) & (code < size)
    at, of, many = block[in_dictionary], code[in_dictionary], n[in_dictionary]
    nowhere = np.bincount(block, weights=n, minlength=count) - nulls - np.bincount(at, weights=many, minlength=count)
    remainder = levels.known & ~levels.listed
    other, unseen = np.empty((count, folds), dtype=np.int64), np.empty((count, folds), dtype=np.int64)
    for fold in range(folds):
        other[:, fold] = np.bincount(at, weights=many * remainder[of, fold], minlength=count)
        unseen[:, fold] = np.bincount(at, weights=many * ~levels.known[of, fold], minlength=count) + nowhere
    kept = np.zeros((count, len(levels.kept)), dtype=np.int64)
    place = np.full(size, -1, dtype=np.int64)
    place[[levels.place[level] for level in levels.kept]] = np.arange(len(levels.kept))
    chosen = place[of] >= 0
    kept[at[chosen], place[of[chosen]]] = many[chosen]
    hitters = _hitters(block, code, n, [*levels.levels, *new], count) if levels.wide else [{} for _ in range(count)]
    return [CategoryCounts(kept[t], int(nulls[t]), other[t], unseen[t], hitters[t]) for t in range(count)]


def _count_pairs(blocks: Ints, codes: Ints, count: int, known: int) -> tuple[Ints, Ints, Ints]:
    """Block, code and number of rows of every pair that occurs; codes are NULL_CODE..known-1."""
    width = known - NULL_CODE
    at = blocks * width
    at += codes
    at -= NULL_CODE
    if count * width <= _MAX_DENSE_CELLS:
        table = np.bincount(at, minlength=count * width)
        filled = np.flatnonzero(table)
        return filled // width, filled % width + NULL_CODE, table[filled].astype(np.int64)
    filled, n = np.unique(at, return_counts=True)
    return filled // width, filled % width + NULL_CODE, n.astype(np.int64)


def _hitters(block: Ints, code: Ints, n: Ints, names: Sequence[str], count: int) -> list[dict[str, int]]:
    """The most frequent levels of each block. A level that occurs once tells nothing and is left out.

    Levels of the reference and new levels are treated alike, also where counts are equal. A list that preferred either
    would make reference and window differ without any change.
    """
    often = np.flatnonzero((code >= 0) & (n > 1))
    tie = np.array([zlib.crc32(names[c].encode()) for c in code[often].tolist()], dtype=np.int64)
    order = often[np.lexsort((tie, -n[often], block[often]))]
    found: list[dict[str, int]] = [{} for _ in range(count)]
    for b, c, many in zip(block[order].tolist(), code[order].tolist(), n[order].tolist(), strict=True):
        if len(found[b]) < MAX_HITTERS:
            found[b][names[c]] = many
    return found

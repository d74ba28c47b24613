"""Block profiles: the counts that are kept of the rows of one block.

The sum of two profiles is the profile of the rows of both blocks. Bins and levels belong to the reference, so the
profiles of any two blocks of one model can be compared and added. Everything the decision rule needs is linear in these
counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from sys import float_info

import numpy as np
from numpy.typing import NDArray

from core.arrays import Ints
from core.errors import InvalidError
from monitor.profile.by_column import MAX_SERIAL_ROWS, THREADS, Rows, each_column, row_count
from monitor.profile.coding import DERIVED_PARTS, CodedColumns, Coding, HasCoding, coded_column
from monitor.profile.counting import BlockIndex, CategoryCounts, NumberCounts, count_levels, count_numbers, index_blocks


@dataclass(frozen=True, eq=False)
class BlockProfile:
    """Counts of the rows of one block, by column."""

    rows: int
    numbers: Mapping[str, NumberCounts]
    categories: Mapping[str, CategoryCounts]


def without_column(block: BlockProfile, column: str) -> BlockProfile:
    """The block without one column and without the columns derived from it."""
    own = (column, *(f"{column}.{part}" for part in DERIVED_PARTS))
    return BlockProfile(
        block.rows,
        {n: counts for n, counts in block.numbers.items() if n not in own},
        {n: counts for n, counts in block.categories.items() if n not in own},
    )


def equal_blocks(rows: int, block_rows: int) -> Ints:
    """Divide rows in time order into blocks of equal size.

    A remainder shorter than half a block joins the block before it, so no block is much smaller than the others.

    Args:
        rows: number of rows.
        block_rows: rows in one block.

    Returns:
        Block number of each row, shape (rows,), ascending from 0.

    Raises:
        InvalidError: block_rows is less than 1.
    """
    if block_rows < 1:
        raise InvalidError(f"block_rows is {block_rows}; give at least 1 row", block_rows=block_rows)
    whole, rest = divmod(rows, block_rows)
    last = whole if rest * 2 >= block_rows else whole - 1
    return np.minimum(np.arange(rows, dtype=np.int64) // block_rows, max(last, 0))


def profile_blocks(rows: Rows, reference: HasCoding, blocks: NDArray[np.int64]) -> tuple[BlockProfile, ...]:
    """Profile each block of some rows.

    Args:
        rows: a frame with every column of the reference, or a query that gives one, which is read a few columns at a
            time. Null, nan and infinite numbers count as missing.
        reference: whose bins, levels and encoders are used.
        blocks: block number of each row, shape (rows,), integers >= 0.

    Returns:
        One profile per block 0..max(blocks); a block without rows has rows = 0.

    Raises:
        InvalidError: a column is absent or has the wrong type, or `blocks` does not match the rows.
    """
    height = row_count(rows)
    if len(blocks) != height:
        raise InvalidError(
            f"blocks has {len(blocks)} entries for {height} rows; give one block number per row",
            blocks=len(blocks),
            rows=height,
        )
    coding = reference.coding
    index = index_blocks(blocks, int(blocks.max()) + 1 if len(blocks) else 0)
    counted = each_column(
        rows, coding.columns, lambda series: count_columns(coded_column(series, coding), coding, index)
    )
    return assemble_profiles(counted.values(), coding, index)


def profile_block(rows: Rows, reference: HasCoding) -> BlockProfile:
    """Profile all rows as one block; see `profile_blocks`."""
    height = row_count(rows)
    if not height:
        return empty_profile(reference.coding)
    return profile_blocks(rows, reference, np.zeros(height, dtype=np.int64))[0]


def merge_all(blocks: Sequence[BlockProfile]) -> BlockProfile:
    """The profile of the rows of several blocks.

    Args:
        blocks: at least one, all of one reference.

    Returns:
        Their sum. Counts are exact; sums of values are exact up to rounding.

    Raises:
        InvalidError: there is no block.
    """
    if not blocks:
        raise InvalidError("no block to merge; give at least one", blocks=0)
    return BlockProfile(
        rows=sum(block.rows for block in blocks),
        numbers={name: _merge_numbers([block.numbers[name] for block in blocks]) for name in blocks[0].numbers},
        categories={name: _merge_levels([b.categories[name] for b in blocks]) for name in blocks[0].categories},
    )


def profile_coded(columns: CodedColumns, coding: Coding, blocks: Ints, total: int) -> tuple[BlockProfile, ...]:
    """Profile rows that are coded already.

    Columns are counted in parallel threads, because numpy releases the interpreter while it works.

    Args:
        columns: values and codes of the rows.
        coding: by which they were coded.
        blocks: block number of each row, shape (rows,), integers 0..total-1.
        total: number of blocks.

    Returns:
        One profile per block 0..total-1.
    """
    index = index_blocks(blocks, total)
    single = [CodedColumns({name: values}, {}, {}) for name, values in columns.numbers.items()]
    single += [CodedColumns({}, {name: codes}, columns.new) for name, codes in columns.categories.items()]
    if len(blocks) <= MAX_SERIAL_ROWS:
        return assemble_profiles([count_columns(column, coding, index) for column in single], coding, index)
    with ThreadPoolExecutor(THREADS) as pool:
        counted = pool.map(lambda column: count_columns(column, coding, index), single)
        return assemble_profiles(counted, coding, index)


@dataclass(frozen=True, eq=False)
class ColumnCounts:
    """Counts of some columns in every block."""

    numbers: Mapping[str, Sequence[NumberCounts]]
    categories: Mapping[str, Sequence[CategoryCounts]]


def count_columns(columns: CodedColumns, coding: Coding, index: BlockIndex) -> ColumnCounts:
    return ColumnCounts(
        {name: count_numbers(values, coding.numbers[name], index) for name, values in columns.numbers.items()},
        {
            name: count_levels(codes, columns.new.get(name, ()), coding.categories[name], index)
            for name, codes in columns.categories.items()
        },
    )


def assemble_profiles(parts: Iterable[ColumnCounts], coding: Coding, index: BlockIndex) -> tuple[BlockProfile, ...]:
    """Combine columns that were counted separately into block profiles, in the order of the coding."""
    numbers: dict[str, Sequence[NumberCounts]] = {}
    categories: dict[str, Sequence[CategoryCounts]] = {}
    for part in parts:
        numbers |= part.numbers
        categories |= part.categories
    return tuple(
        BlockProfile(
            rows=int(rows),
            numbers={name: numbers[name][t] for name in coding.numbers},
            categories={name: categories[name][t] for name in coding.categories},
        )
        for t, rows in enumerate(index.rows)
    )


def _merge_numbers(parts: Sequence[NumberCounts]) -> NumberCounts:
    return NumberCounts(
        np.add.reduce([part.counts for part in parts]),
        sum(part.nulls for part in parts),
        max(-float_info.max, min(sum(part.total for part in parts), float_info.max)),
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

"""Work on rows column by column, with few columns in memory, in parallel threads.

Threads help because numpy and Polars release the interpreter while they work.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import polars as pl

from core.errors import InvalidError

# Rows in memory, or a query such as a scan of Parquet files, which is then read a few columns at a time.
Rows = pl.DataFrame | pl.LazyFrame

THREADS: Final = 2
MAX_SERIAL_ROWS: Final = 50_000  # with fewer rows, threads cost more than they save
_MAX_VALUES_PER_THREAD: Final = (
    16_000_000  # values read together by one thread, for reading every column by itself costs more
)
_MIN_TURNS_PER_THREAD: Final = 4  # each thread has at least as many turns, so that none waits long for the other

T = TypeVar("T")


def row_count(rows: Rows) -> int:
    return rows.height if isinstance(rows, pl.DataFrame) else int(rows.select(pl.len()).collect().item())


def column_names(rows: Rows) -> list[str]:
    return rows.columns if isinstance(rows, pl.DataFrame) else rows.collect_schema().names()


def each_column(rows: Rows, names: Sequence[str], work: Callable[[pl.Series], T]) -> dict[str, T]:
    """The result of `work` for each named column, in the order of the names.

    A query is run once for every few columns, and must give the same rows in the same order each time.

    Raises:
        InvalidError: the rows have no such column.
    """
    known = set(column_names(rows))
    for name in names:
        if name not in known:
            raise InvalidError(f"column {name!r} is not in the rows; send it or do not watch it", column=name)
    height = row_count(rows)

    def read(part: Sequence[str]) -> list[T]:
        frame = rows if isinstance(rows, pl.DataFrame) else rows.select(part).collect()
        return [work(frame[name]) for name in part]

    if height <= MAX_SERIAL_ROWS:
        return dict(zip(names, read(names), strict=True))
    size = max(1, min(-(-len(names) // (THREADS * _MIN_TURNS_PER_THREAD)), _MAX_VALUES_PER_THREAD // height))
    parts = [names[at : at + size] for at in range(0, len(names), size)]
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(names, (one for part in pool.map(read, parts) for one in part), strict=True))

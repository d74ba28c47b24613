"""Reading the data files of a Delta table, lazily, even while they are replaced and deleted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.io.plugins import register_io_source

from monitor.lake.datafile import PARTITION
from monitor.lake.errors import DataFileDamagedError
from monitor.lake.identity import RowIdentity, RowIds
from monitor.lake.snapshot import DataFile, Snapshot

DTYPES: Final[Mapping[str, Any]] = {
    "string": pl.String,
    "double": pl.Float64,
    "array<float>": pl.List(pl.Float32),
    "array<string>": pl.List(pl.String),
    "boolean": pl.Boolean,
    "long": pl.Int64,
    "timestamp": pl.Datetime("us", "UTC"),
    "date": pl.Date,
}
DELTA_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
MAX_REREADS: Final = 5


def schema(snapshot: Snapshot) -> dict[str, Any]:
    """The Polars schema of the rows: every column of the table except the partition's."""
    return {n: DTYPES[k] for n, k in snapshot.columns.items() if n != PARTITION and k in DTYPES}


def rows(table: Path, snapshot: Snapshot, files: Sequence[DataFile]) -> pl.LazyFrame:
    """All rows of some files of a version; reading raises FileNotFoundError if one was deleted meanwhile."""
    columns = schema(snapshot)
    if not files:
        return pl.LazyFrame(schema=columns)
    found = pl.scan_parquet(
        [table / f.path for f in files],
        schema=columns, missing_columns="insert", extra_columns="ignore", hive_partitioning=False, glob=False,
    )  # fmt: skip
    return found if snapshot.end is None else found.filter(pl.col("seq") < snapshot.end)


def row_ids(table: Path, snapshot: Snapshot, paths: Sequence[str], identity: RowIdentity) -> tuple[RowIds, pl.Series]:
    """The identity of each row of some files, and its file; FileNotFoundError if one was deleted meanwhile."""
    columns = schema(snapshot) if identity.by_values else {identity.key: pl.String}
    path = "\0path"  # no column has this name
    found = pl.scan_parquet(
        [table / p for p in paths], schema=columns, missing_columns="insert", extra_columns="ignore",
        include_file_paths=path, hive_partitioning=False, glob=False,
    )  # fmt: skip
    frame = found.with_columns(pl.col(path).str.strip_prefix(f"{table}/")).collect()
    return identity.of(frame.drop(path)), frame[path]


def reread(
    table: Path,
    snapshot: Snapshot,
    rows_at: Callable[[Snapshot], pl.LazyFrame],
    newest: Callable[[], Snapshot],
) -> pl.LazyFrame:
    """The rows of a version, even if its files are replaced and deleted before they are read.

    A version has the same rows as any later version restricted to seq < the end of the former. Collecting raises
    DataFileDamagedError if a file cannot be read or is gone though the newest version names it.

    Args:
        table: the folder of the table.
        snapshot: the version to read.
        rows_at: gives the wanted rows of a version.
        newest: gives the newest version, to read again from its files.
    """
    columns = schema(snapshot)

    def source(
        wanted: list[str] | None, predicate: pl.Expr | None, count: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        at = snapshot
        for again in range(MAX_REREADS, -1, -1):
            some = rows_at(at) if predicate is None else rows_at(at).filter(predicate)
            some = some.select(wanted if wanted is not None else list(columns))
            try:
                frame = (some if count is None else some.head(count)).collect()
            except FileNotFoundError as error:
                if not again:
                    raise damaged(table, at) or error from error
            except pl.exceptions.ComputeError as error:
                raise damaged(table, at) or error from error
            else:
                yield frame
                return
            at = newest().before(snapshot.next_seq if snapshot.end is None else snapshot.end)

    return register_io_source(source, schema=columns)


def damaged(table: Path, snapshot: Snapshot) -> DataFileDamagedError | None:
    """The error that names the files of a version which are gone or cannot be read; None if all can be."""
    found = [f.path for f in snapshot.files if not _readable(table / f.path)]
    return DataFileDamagedError(table, found) if found else None


def _readable(file: Path) -> bool:
    try:
        pl.scan_parquet(file, hive_partitioning=False, glob=False).select(pl.all().null_count()).collect()
    except (OSError, pl.exceptions.PolarsError):
        return False
    return True

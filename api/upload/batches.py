"""Read a file as a stream of batches, so that memory holds one batch however large the file is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
import pyarrow.parquet as pq

from api.upload.files import UploadSource
from core.errors import InvalidError
from monitor.ingest.ndjson import BOM
from monitor.ingest.typed_columns import arrow_series

BATCH_ROWS: Final = 20_000
BATCH_BYTES: Final = 16 << 20  # bytes of text in one batch
MAX_LINE_BYTES: Final = 32 << 20
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file: columns, or for NDJSON the raw lines (None for a line that is too long)."""

    first: int  # row of the file, from 1; blank NDJSON lines count
    rows: int
    position: int  # bytes of the file read so far
    content: pl.DataFrame | list[bytes | None]


def column_names(source: UploadSource) -> list[str] | None:
    """Return the column names of a file; None for NDJSON, where each line has its own keys.

    Raises:
        InvalidError: the file cannot be read.
    """
    with _read_errors(source), source.opened() as (stream, _):
        match source.format:
            case "parquet":
                return list(pq.read_schema(stream).names)
            case "csv":
                return list(_csv(stream, None).schema.names)
            case "arrow":
                return list(pa.ipc.open_file(stream).schema.names)
    return None


def batches(source: UploadSource, skip: int) -> Iterator[Batch]:
    """Yield the rows after the first `skip` rows, in batches.

    Raises:
        InvalidError: the file is damaged.
    """
    read: Mapping[str, Callable[[UploadSource, int], Iterator[Batch]]] = {
        "parquet": _parquet, "csv": _csv_batches, "ndjson": _ndjson, "arrow": _arrow
    }  # fmt: skip
    with _read_errors(source):
        yield from read[source.format](source, skip)


@contextmanager
def _read_errors(source: UploadSource) -> Iterator[None]:
    try:
        yield
    except InvalidError as error:
        raise InvalidError(f"file {source.name}: {error.message}", **error.facts) from error
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidError(f"file {source.name} cannot be read as {source.format}: {reason}", field="file") from error


def _parquet(source: UploadSource, skip: int) -> Iterator[Batch]:
    with source.opened() as (stream, _), pq.ParquetFile(stream, pre_buffer=False) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        first, at = 0, 0  # the row group to begin with, and the rows before it
        while first < len(sizes) and at + sizes[first] <= skip:
            at, first = at + sizes[first], first + 1
        total = max(file.metadata.num_rows, 1)
        for part in file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=list(range(first, len(sizes))), use_threads=False
        ):
            end = at + part.num_rows
            if end > skip:
                rows = part.slice(max(0, skip - at))
                yield Batch(
                    end - rows.num_rows + 1,
                    rows.num_rows,
                    source.size * end // total,
                    _framed(pa.Table.from_batches([rows])),
                )
            at = end


def _arrow(source: UploadSource, skip: int) -> Iterator[Batch]:
    """The batches of an Arrow file (Feather version 2)."""
    at = 0
    with source.opened() as (stream, file):
        reader = pa.ipc.open_file(stream)
        for number in range(reader.num_record_batches):
            part = reader.get_batch(number)
            end = at + part.num_rows
            for first in range(max(at, skip), end, BATCH_ROWS):
                rows = part.slice(first - at, BATCH_ROWS)
                yield Batch(first + 1, rows.num_rows, file.tell(), _framed(pa.Table.from_batches([rows])))
            at = end


def _csv(stream: Any, columns: list[str] | None) -> Any:
    """Open a CSV file with every column as text: the spec decides the types, not the first rows of the file."""
    types = None if columns is None else dict.fromkeys(columns, pa.string())
    return pa_csv.open_csv(
        stream,
        read_options=pa_csv.ReadOptions(block_size=4 * _CHUNK, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )


def _csv_batches(source: UploadSource, skip: int) -> Iterator[Batch]:
    columns, at = column_names(source), 0
    with source.opened() as (stream, file):
        for part in _csv(stream, columns):
            end = at + part.num_rows
            for first in range(max(at, skip), end, BATCH_ROWS):
                rows = part.slice(first - at, BATCH_ROWS)
                yield Batch(first + 1, rows.num_rows, file.tell(), _framed(pa.Table.from_batches([rows])))
            at = end


def _framed(table: pa.Table) -> pl.DataFrame:
    found: list[pl.Series] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if table.column_names.count(name) > 1:
            raise InvalidError(f"column names must be unique, and {name!r} is the name of two", field=name)
        try:
            found.append(arrow_series(name, column))
        except pl.exceptions.PolarsError as error:
            raise InvalidError(
                f"column {name!r} holds {str(column.type)[:100]}, which cannot be read; convert it or leave it out of "
                "the file", field=name,
            ) from error  # fmt: skip
    return pl.DataFrame(found)


def _ndjson(source: UploadSource, skip: int) -> Iterator[Batch]:
    lines: list[bytes | None] = []
    size, first = 0, skip + 1
    with source.opened() as (stream, file):
        for number, line in enumerate(_lines(stream), start=1):
            if number <= skip:
                continue
            lines.append(line.removeprefix(BOM) if line and number == 1 else line)
            size += len(line or b"")
            if len(lines) == BATCH_ROWS or size > BATCH_BYTES:
                yield Batch(first, len(lines), file.tell(), lines)
                lines, size, first = [], 0, number + 1
        if lines:
            yield Batch(first, len(lines), file.tell(), lines)


def _lines(stream: Any) -> Iterator[bytes | None]:
    """Yield lines without their newline; None in place of a line that is too long."""
    rest, skipping = b"", False
    while chunk := bytes(stream.read(_CHUNK)):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield None if skipping else line
            skipping = False
        if len(rest) > MAX_LINE_BYTES:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest

"""Read Arrow IPC streams and Parquet files into the columns of the spec.

The reader adds up the size that a body declares before it decompresses anything. It also checks every buffer before
use: lengths, offsets, dictionary indices and UTF-8 come from an untrusted sender.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from monitor.ingest.encoding import too_large
from monitor.ingest.json_columns import merged
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.ndjson import BodyError, Rows, check_count
from monitor.ingest.parquet_footer import LeafColumn, page_sizes, row_groups
from monitor.ingest.plausible_times import UNITS, TimeSpan, to_micros
from monitor.ingest.row_schema import UTC_MICROSECONDS, SchemaMismatchError, Target
from monitor.ingest.typed_columns import ACCEPTED, TypedColumn, arrow_series, far_time, json_value, typed_column
from monitor.ingest.validate import CheckedRows, unknown_column
from monitor.spec.columns import ColumnType

_INT64: Final = np.iinfo(np.int64)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_BYTES: Final = 40  # of a time as text, at most
_LISTS: Final = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)
# First bytes of other formats that are sent by mistake under the declared Content-Type.
_OTHER_FORMATS: Final[Mapping[bytes, str]] = {
    b"ARROW1": "an Arrow file; write an IPC stream with pyarrow.ipc.new_stream or polars' write_ipc_stream",
    b"PAR1": f"a Parquet file; send it with Content-Type {PARQUET}",
    b"\xff\xff\xff\xff": f"an Arrow IPC stream; send it with Content-Type {ARROW}",
    b"\x1f\x8b": "gzip data; send it with Content-Encoding gzip",
    b"\x28\xb5\x2f\xfd": "zstd data; send it with Content-Encoding zstd",
    b"[": f"JSON; send it with Content-Type {JSON}",
    b"{": f"NDJSON; send it with Content-Type {NDJSON}",
}  # fmt: skip


def read_arrow_columns(target: Target, body: bytes, now: datetime, limit_mb: int) -> CheckedRows:
    """Read an Arrow IPC stream; dictionaries, large strings and timestamps with a zone in any unit are accepted.

    Raises:
        BodyError: the body is not an Arrow IPC stream, is damaged, or has no row.
        BodyTooLargeError: the decompressed body is larger than the limit.
        SchemaMismatchError: a column is not declared in the spec, or has another type.
    """

    with _read_errors("an Arrow IPC stream", body), pa.ipc.open_stream(body) as stream:
        _match(target, stream.schema)
        _bound_messages(body, limit_mb)
        return _columns(target, stream.read_all(), now, limit_mb)


def read_parquet_columns(target: Target, body: bytes, now: datetime, limit_mb: int) -> CheckedRows:
    """Read a Parquet file; raises the same errors as `read_arrow_columns`."""
    with _read_errors("a Parquet file", body):
        metadata = pq.read_metadata(pa.BufferReader(body))
        # Dictionary columns stay encoded until their decoded size is known.
        texts = [name for name in metadata.schema.names if target.schema.get(name) == pl.String]
        with pq.ParquetFile(pa.BufferReader(body), metadata=metadata, read_dictionary=texts) as file:
            _match(target, file.schema_arrow)
            found = row_groups(body)
            rows, size = sum(group.rows for group in found), 0
            _bound(rows, size, limit_mb)
            for page in page_sizes(body, _leaves(metadata.schema), found):
                _bound(rows, size := size + page, limit_mb)
            return _columns(target, file.read(use_threads=False), now, limit_mb)


def _leaves(schema: pq.ParquetSchema) -> list[LeafColumn]:
    columns = [schema.column(i) for i in range(len(schema))]
    return [LeafColumn(c.path, c.length or 0, c.max_repetition_level > 0) for c in columns]


@contextmanager
def _read_errors(what: str, body: bytes) -> Iterator[None]:
    try:
        yield
    # pyarrow and polars report a damaged file by any of these.
    except (
        pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError, KeyError, OverflowError,
        struct.error,
    ) as error:  # fmt: skip
        other = next(
            (text for magic, text in _OTHER_FORMATS.items() if body.startswith(magic) and what not in text), None
        )
        reason = f"it looks like {other}" if other else str(error).rstrip(". \n")[:200] + "; write the file again"
        raise BodyError(f"the body cannot be read as {what}: {reason}") from error


def _match(target: Target, schema: pa.Schema) -> None:
    """Refuse a body with a column that is undeclared, duplicated, required but missing, or of another type."""
    known = ("event_id", *(["ts"] if target.timed else []), *(n for n in target.columns if n != "event_id"))
    for name in schema.names:
        if name not in known:
            reason = unknown_column(name, known, target.elsewhere)
            raise SchemaMismatchError(f"{name[:100]!r}: {reason}", field=name[:100])
        if schema.names.count(name) > 1:
            raise SchemaMismatchError(f"column {name} appears twice; send it once", field=name)
    for name in ("event_id", "ts", "version") if target.timed else ("event_id",):
        if name not in schema.names:
            raise SchemaMismatchError(f"column {name} is missing; every row needs it", field=name)
    for name, kind in target.columns.items():
        if name in schema.names and not _fits(schema.field(name).type, kind):
            sent = schema.field(name).type
            raise SchemaMismatchError(
                f"column {name} is {_type_name(sent)}; it is declared as {kind}: send {ACCEPTED[kind]}, "
                "or leave it out",
                field=name, sent=_type_name(sent),
            )  # fmt: skip
    if target.timed:
        sent = schema.field("ts").type
        if not pa.types.is_timestamp(sent):
            raise SchemaMismatchError(
                f"column ts is {_type_name(sent)}; send timestamps with a zone", field="ts", sent=_type_name(sent)
            )
        if sent.tz is None:
            raise SchemaMismatchError(f"column ts is {sent}, without a zone; give it one, such as UTC", field="ts")


def _type_name(sent: pa.DataType) -> str:
    return str(sent)[:100]


def _fits(sent: pa.DataType, kind: ColumnType) -> bool:
    """Whether a column of this type may hold values of the declared type, and is read safely."""
    if pa.types.is_dictionary(sent):
        sent = sent.value_type
    if pa.types.is_null(sent):
        return True
    if kind == "vector":
        return isinstance(sent, _LISTS) and _is_number(sent.value_type)
    if kind == "texts" and isinstance(sent, _LISTS):
        return not pa.types.is_dictionary(sent.value_type) and _fits(sent.value_type, "text")
    is_text = pa.types.is_string(sent) or pa.types.is_large_string(sent) or pa.types.is_string_view(sent)
    if is_text or _is_number(sent):
        return True
    if pa.types.is_boolean(sent):
        return kind != "number"
    in_time = pa.types.is_date(sent) or pa.types.is_time(sent) or pa.types.is_timestamp(sent)
    return in_time and kind in ("category", "string", "text", "texts")


def _is_number(sent: pa.DataType) -> bool:
    return (
        pa.types.is_null(sent) or pa.types.is_integer(sent) or pa.types.is_floating(sent) or pa.types.is_decimal(sent)
    )


def _columns(target: Target, table: pa.Table, now: datetime, limit_mb: int) -> CheckedRows:
    table.validate(full=True)
    if not table.num_rows:
        raise BodyError("the body holds no row; send at least one")
    _bound(table.num_rows, 0, limit_mb)
    size = sum(_unpacked(chunk) for column in table.columns for chunk in column.chunks)
    _bound(table.num_rows, size, limit_mb)
    typed = {name: _typed(table, name, kind) for name, kind in target.columns.items()}
    columns = {name: column.values for name, column in typed.items()}
    if target.timed:
        columns["ts"] = _times(table["ts"], target.span(now))
    frame, good = target.good(pl.DataFrame(columns), now)
    misfits = {name: column.misfits for name, column in typed.items() if column.misfits is not None}
    for mask in misfits.values():
        good &= ~mask
    if good.all():
        return CheckedRows(frame, range(1, frame.height + 1), [])
    bad = (~good).arg_true().to_list()
    objects = frame[bad].to_dicts()
    unit = table["ts"].type.unit if target.timed else ""
    for name, mask in misfits.items():  # as they were sent, because the reason quotes them
        given = table[name]  # Arrow takes no rows of a string view
        for row, i, misfit in zip(objects, bad, mask[bad], strict=True):
            row[name] = _as_sent(given[i]) if misfit else row[name]
    if target.timed:
        for row, value in zip(objects, table["ts"].cast(pa.int64()).take(pa.array(bad)).to_pylist(), strict=True):
            row["ts"] = None if value is None else _iso_time(value, unit)
    examined = target.examine(Rows(objects, [i + 1 for i in bad], [], unit), now)
    return merged(CheckedRows(frame.filter(good), (good.arg_true() + 1).to_list(), []), examined)


def _as_sent(value: Any) -> Any:
    """A misfit as JSON can hold it; times are misfits where they lie beyond the calendar."""
    value = value.value if pa.types.is_dictionary(value.type) else value
    if pa.types.is_temporal(value.type):
        return far_time(value.value, getattr(value.type, "unit", "days"))
    return json_value(value.as_py())


def _typed(table: pa.Table, name: str, kind: ColumnType) -> TypedColumn:
    height = table.num_rows
    if name not in table.column_names:
        absent = typed_column(pl.Series(name, [None]).new_from_index(0, height), kind)
        assert absent is not None
        return absent
    column = table[name]
    if pa.types.is_dictionary(column.type):
        chunks: list[Any] = column.chunks
        parts = [_converted(name, c.dictionary, kind) for c in chunks]
        at = [pl.Series(c.indices) for c in chunks]
        values = pl.concat([p.values.gather(i) for p, i in zip(parts, at, strict=True)]).alias(name)
        if all(p.misfits is None for p in parts):
            return TypedColumn(values)
        masks = [pl.Series([False] * len(p.values)) if p.misfits is None else p.misfits for p in parts]
        misfits = pl.concat([m.gather(i).fill_null(value=False) for m, i in zip(masks, at, strict=True)])
        return TypedColumn(values, misfits if misfits.any() else None)
    return _converted(name, column, kind)


def _converted(name: str, column: Any, kind: ColumnType) -> TypedColumn:
    found = typed_column(arrow_series(name, column), kind)
    assert found is not None  # `_fits` is stricter
    return found


def _times(column: "pa.ChunkedArray[Any]", span: TimeSpan) -> pl.Series:
    """Event times in UTC with microseconds; null where a time is out of bounds."""
    per_second = UNITS[column.type.unit]
    # Digits below a microsecond are dropped, as in JSON.
    earliest = -(-to_micros(span.earliest) * per_second // 10**6)
    latest = ((to_micros(span.latest) + 1) * per_second - 1) // 10**6
    counted = pl.Series("ts", column.cast(pa.int64()))
    inside = pl.when(counted.is_between(max(earliest, _INT64.min), min(latest, _INT64.max))).then(counted)
    scaled = inside * (10**6 // per_second) if per_second <= 10**6 else inside // (per_second // 10**6)
    return pl.select(scaled.cast(pl.Int64).cast(UTC_MICROSECONDS).alias("ts")).to_series()


def _iso_time(value: int, unit: str) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=value * 10**6 // UNITS[unit])).isoformat()
    except OverflowError:  # beyond Python's calendar
        return f"{value} {unit} since 1970"


def _unpacked(chunk: "pa.Array[Any]") -> int:
    """Bytes of a column after dictionary decoding; of a list column at least 4 bytes for each number."""
    if isinstance(chunk, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return max(chunk.nbytes, 4 * len(chunk.values))
    if not isinstance(chunk, pa.DictionaryArray):
        return chunk.nbytes
    if pa.types.is_temporal(chunk.type.value_type):
        return _TIME_BYTES * len(chunk)
    lengths = arrow_series("", chunk.dictionary).cast(pl.String).str.len_bytes().cast(pl.Int64)
    return int(lengths.gather(pl.Series(chunk.indices).drop_nulls()).sum()) + 4 * len(chunk)


def _bound(rows: int, size: int, limit_mb: int) -> None:
    check_count(rows)  # a column of one repeated value has almost no size, so the rows are bounded too
    if size > limit_mb << 20:
        raise too_large(limit_mb, "the unpacked body is")


def _bound_messages(body: bytes, limit_mb: int) -> None:
    """Bound the rows and the decompressed bytes that the messages of the stream declare.

    Source: Message.fbs of the Arrow format. A compressed buffer begins with its decompressed length, or -1 if it is
    stored uncompressed.
    """
    rows = size = 0
    for kind, header, data in _batches(body):
        if kind == "rows":
            rows += max(header.integer(0), 0)
        packed = header.offset(3) is not None
        for at, length in header.pairs(2):
            if not 0 <= at <= at + length <= len(data):
                raise BodyError("the body cannot be read as an Arrow IPC stream: a buffer lies outside the body")
            own = int.from_bytes(data[at : at + 8], "little", signed=True) if packed and length else length
            size += max(own, length)
        _bound(rows, size, limit_mb)


def _batches(body: bytes) -> Iterator[tuple[str, "_FlatTable", memoryview]]:
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(body))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        data = memoryview(message.body) if message.body is not None else memoryview(b"")
        root = _FlatTable.root(memoryview(message.metadata))
        header = root.table(2)
        if message.type == "record batch":
            yield "rows", header, data
        elif message.type == "dictionary":
            yield "dictionary", header.table(1), data


class _FlatTable:
    """A flatbuffer table; its vtable gives the offset of each field."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]

    @classmethod
    def root(cls, data: memoryview) -> "_FlatTable":
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def offset(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry >= struct.unpack_from("<H", self.data, self.vtable)[0]:
            return None
        offset: int = struct.unpack_from("<H", self.data, self.vtable + entry)[0]
        return self.at + offset if offset else None

    def integer(self, field: int) -> int:
        at = self.offset(field)
        return 0 if at is None else int(struct.unpack_from("<q", self.data, at)[0])

    def table(self, field: int) -> "_FlatTable":
        at = self.offset(field)
        if at is None:
            raise BodyError("the body cannot be read as an Arrow IPC stream: a message has no header")
        return _FlatTable(self.data, at + struct.unpack_from("<I", self.data, at)[0])

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Yield the items of a vector of structs that hold two 64-bit integers each."""
        at = self.offset(field)
        if at is None:
            return
        start = at + struct.unpack_from("<I", self.data, at)[0]
        count = struct.unpack_from("<I", self.data, start)[0]
        for i in range(count):
            yield struct.unpack_from("<qq", self.data, start + 4 + 16 * i)

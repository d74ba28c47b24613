"""Arrow streams and Parquet files: what is taken comes out typed, and nothing that is claimed is believed."""

import io
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns
from monitor.ingest.ndjson import MAX_BODY_ROWS, BodyError, BodyTooLargeError
from monitor.ingest.row_schema import SchemaMismatchError, events_of
from monitor.ingest.validate import CheckedRows
from monitor.spec.parse import parse_spec
from tests.examples import examples
from tests.monitor.ingest.test_columnar import NOW, TARGETS

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "event_id": ["a", "b", "c"], "ts": pa.array([AT] * 3, pa.timestamp("us", "UTC")), "version": ["v1"] * 3,
    "text": ["x", None, "z"], "score": [1.5, None, 2.0], "vip": [True, False, None],
}  # fmt: skip


VECTORS = events_of(parse_spec({
    "model": "v", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "meaning": {"role": "input", "type": "vector", "dimensions": 3},
        "score": {"role": "score", "type": "number"}, "vip": {"role": "segment", "type": "boolean"},
        "answer": {"role": "prediction", "type": "category"},
    },
}))  # fmt: skip


def arrow(table: pa.Table, compression: Literal["lz4", "zstd"] | None = None) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def read_arrow(body: bytes, limit_mb: int = 4) -> CheckedRows:
    return read_arrow_columns(TARGETS[0], body, NOW, limit_mb)


def read_parquet(body: bytes, limit_mb: int = 4) -> CheckedRows:
    return read_parquet_columns(TARGETS[0], body, NOW, limit_mb)


FORMS = [pytest.param(arrow, read_arrow, id="arrow"), pytest.param(parquet, read_parquet, id="parquet")]
Write = Callable[[pa.Table], bytes]
Read = Callable[[bytes], CheckedRows]


@pytest.mark.parametrize(("write", "read"), FORMS)
def test_columns_come_out_as_they_are_stored(write: Write, read: Read) -> None:
    checked = read(write(pa.table(COLUMNS)))
    assert (checked.rejected, list(checked.lines)) == ([], [1, 2, 3])
    assert checked.frame["ts"].to_list() == [AT] * 3
    assert checked.frame["score"].to_list() == [1.5, None, 2.0]
    assert checked.frame["trace_id"].to_list() == [None] * 3
    assert checked.frame.schema["ts"] == pl.Datetime("us", "UTC")
    assert checked.frame.schema["a_name.longer-than eight"] == pl.Float64


@pytest.mark.parametrize(("write", "read"), FORMS)
@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("text", pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
        ("text", pa.array(["x", None, "y"], pa.large_string()), ["x", None, "y"]),
        ("text", pl.Series(["x", None, "y"], dtype=pl.Categorical).to_arrow(), ["x", None, "y"]),
        ("text", pl.Series(["x", None, "y"], dtype=pl.Enum(["y", "x"])).to_arrow(), ["x", None, "y"]),
        ("text", pl.Series(["x", None, "y"]).to_arrow(compat_level=pl.CompatLevel.newest()), ["x", None, "y"]),
        ("score", pa.array([1, None, 1]).dictionary_encode(), [1.0, None, 1.0]),
        ("text", pa.array([None] * 3, pa.null()), [None] * 3),
        ("score", pa.array([1, None, 2**53 + 1], pa.int64()), [1.0, None, float(2**53)]),
        ("score", pa.array([1, 2, 3], pa.uint8()), [1.0, 2.0, 3.0]),
        ("score", pa.array([1, 2, 3], pa.float32()), [1.0, 2.0, 3.0]),
        ("ts", pa.array([AT] * 3, pa.timestamp("s", "UTC")), [AT] * 3),
        ("ts", pa.array([AT] * 3, pa.timestamp("ms", "Europe/Berlin")), [AT] * 3),
        ("ts", pa.array([AT] * 3, pa.timestamp("us", "+05:30")), [AT] * 3),
        ("ts", pa.array([AT.replace(microsecond=7)] * 3, pa.timestamp("ns", "UTC")), [AT.replace(microsecond=7)] * 3),
    ],
)
def test_what_other_programs_write_is_taken(write: Write, read: Read, name: str, values: Any, expected: Any) -> None:
    checked = read(write(pa.table({**COLUMNS, name: values})))
    assert checked.rejected == []
    assert checked.frame[name].to_list() == expected


@pytest.mark.parametrize(("write", "read"), FORMS)
@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"other": ["x"] * 3}, "other", "unknown column"),
        ({"truth": ["x"] * 3}, "truth", "/outcomes"),
        ({"ts": pa.array([AT.replace(tzinfo=None)] * 3)}, "ts", "without a zone"),
        ({"ts": ["2026-05-01T00:00:00Z"] * 3}, "ts", "timestamps with a zone"),
        ({"score": [True] * 3}, "score", "declared as number"),
        ({"vip": pa.array([AT] * 3)}, "vip", "declared as boolean"),
        ({"score": pa.array([AT] * 3)}, "score", "declared as number"),
        ({"text": [["x"]] * 3}, "text", "declared as text"),
        ({"text": pa.array([b"x"] * 3)}, "text", "declared as text"),
        ({"version": None}, "version", "missing"),
        ({"event_id": None}, "event_id", "missing"),
    ],
)
def test_columns_that_do_not_fit_are_refused_as_a_whole(
    write: Write, read: Read, change: dict[str, Any], field: str, word: str
) -> None:
    columns = {name: values for name, values in {**COLUMNS, **change}.items() if values is not None}
    with pytest.raises(SchemaMismatchError, match=word) as caught:
        read(write(pa.table(columns)))
    assert caught.value.facts["field"] == field


@pytest.mark.parametrize(("write", "read"), FORMS)
@pytest.mark.parametrize(
    ("name", "values", "word"),
    [
        ("event_id", ["a", None, "c"], "missing or empty"),
        ("event_id", ["a", "", "c"], "missing or empty"),
        ("version", ["v", None, "v"], "missing or empty"),
        ("ts", pa.array([AT, None, AT], pa.timestamp("us", "UTC")), "missing"),
        ("ts", pa.array([AT, NOW + timedelta(days=2), AT], pa.timestamp("ms", "UTC")), "ahead of now"),
        ("ts", pa.array([AT, 2**62, AT], pa.timestamp("us", "UTC")), "ahead of now"),
        ("score", [1.0, float("inf"), 2.0], "finite"),
        ("score", ["1", "one", "2"], "'one' is not a number"),
        ("vip", [1, 2, 0], "2 is not true or false"),
        ("score", [1.0, float("-inf"), 2.0], "finite"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_itself(
    write: Write, read: Read, name: str, values: Any, word: str
) -> None:
    checked = read(write(pa.table({**COLUMNS, name: values})))
    assert list(checked.lines) == [1, 3]
    (rejected,) = checked.rejected
    assert (rejected.line, rejected.field) == (2, name)
    assert word in rejected.reason


@pytest.mark.parametrize(("write", "read"), FORMS)
def test_a_body_that_unpacks_to_too_much_is_refused(write: Write, read: Read) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["x" * 5000]))
    many: dict[str, Any] = {"event_id": ["a"] * 3000, "ts": pa.array([AT] * 3000), "version": ["v"] * 3000}
    with pytest.raises(BodyTooLargeError, match="larger than 4 MiB"):
        read(write(pa.table({**many, "text": long})))
    count = MAX_BODY_ROWS + 1
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array(["a"]))
    nothing = pa.table({"event_id": ids, "ts": pa.nulls(count, pa.timestamp("us", "UTC")), "version": pa.nulls(count)})
    with pytest.raises(BodyTooLargeError):
        read(write(nothing))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_packed_buffers_are_added_up_before_they_are_unpacked(compression: Literal["lz4", "zstd"]) -> None:
    columns = {**COLUMNS, "text": ["x" * 1000, "y" * 1000, "z" * 1000]}
    assert read_arrow(arrow(pa.table(columns), compression)).frame.height == 3
    bomb = arrow(pa.table({**COLUMNS, "text": ["x" * (2 << 20)] * 3}), compression)
    assert len(bomb) < 1 << 20
    with pytest.raises(BodyTooLargeError, match="unpacked"):
        read_arrow(bomb)
    claimed = bomb.replace(struct.pack("<q", 6 << 20), struct.pack("<q", 1 << 50))
    with pytest.raises(InvalidError):
        read_arrow(claimed)


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most bytes that Arrow held since the test began."""
    usual = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counted)
    yield lambda: counted.max_memory() or 0
    pa.set_memory_pool(usual)


def test_pages_that_are_larger_than_their_footer_says_are_not_unpacked(peak: Callable[[], int]) -> None:
    columns = {name: values[:1] for name, values in COLUMNS.items()}
    large = pa.table({**columns, "text": ["x" * (32 << 20)]})
    body = io.BytesIO()
    pq.write_table(large, body, compression="zstd", use_dictionary=False, write_statistics=False)
    group = pq.read_metadata(body).row_group(0)
    honest, start = body.getvalue(), len(body.getvalue()) - 8 - struct.unpack("<i", body.getvalue()[-8:-4])[0]
    footer = honest[start:]
    chunks = [group.column(i) for i in range(group.num_columns)]
    for size in (group.total_byte_size, *(c.total_uncompressed_size for c in chunks if c.path_in_schema == "text")):
        footer = footer.replace(varint(2 * size), varint(200, len(varint(2 * size))))
    lying = honest[:start] + footer
    assert pq.read_metadata(io.BytesIO(lying)).row_group(0).total_byte_size == 100
    del large
    before = peak()
    for sent in (honest, lying):
        with pytest.raises(BodyTooLargeError, match="unpacked"):
            read_parquet(sent)
    assert peak() - before < 4 << 20


def varint(value: int, length: int = 0) -> bytes:
    """A whole number as Thrift writes it, in at least so many bytes."""
    out = bytearray()
    while value > 127 or len(out) + 1 < length:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_a_vector_without_end_is_not_unpacked(peak: Callable[[], int]) -> None:
    count = 8_000_000
    columns = {name: values[:1] for name, values in COLUMNS.items()}
    run = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array([0.0])).dictionary_decode()
    ends = pa.array([0, count], pa.int32())
    packed = parquet(pa.table({**columns, "meaning": pa.ListArray.from_arrays(ends, run)}))
    nothing = arrow(pa.table({**columns, "meaning": pa.ListArray.from_arrays(ends, pa.nulls(count))}))
    assert len(packed) + len(nothing) < 8192
    before = peak()
    for target_of_form, body in ((read_parquet_columns, packed), (read_arrow_columns, nothing)):
        with pytest.raises(BodyTooLargeError, match="unpacked"):
            target_of_form(VECTORS, body, NOW, 4)
    assert peak() - before < 4 << 20


def test_pages_without_end_and_a_footer_without_end_are_refused() -> None:
    def written(rows: int, **options: Any) -> bytes:
        body = io.BytesIO()
        ids = pa.array([str(i) for i in range(rows)])
        content = pa.table({"event_id": ids, "ts": pa.array([AT] * rows), "version": ids, "score": [0.5] * rows})
        pq.write_table(content, body, use_dictionary=False, **options)
        return body.getvalue()

    with pytest.raises(BodyError, match="more than 100000 pages"):
        read_parquet(written(30_000, data_page_size=1, write_batch_size=1), limit_mb=16)
    with pytest.raises(BodyError, match="bytes; write larger row groups"):
        read_parquet(parquet(pa.table(COLUMNS).replace_schema_metadata({"note": "x" * (2 << 20)})), limit_mb=16)


@pytest.mark.parametrize("options", [
    {"data_page_version": "2.0"}, {"use_dictionary": False}, {"row_group_size": 1}, {"data_page_size": 16},
    {"compression": "gzip"}, {"compression": "none"}, {"compression": "brotli"}, {"write_page_index": True},
    {"write_page_checksum": True}, {"column_encoding": {"score": "BYTE_STREAM_SPLIT"}, "use_dictionary": False},
], ids=str)  # fmt: skip
def test_parquet_is_taken_however_its_pages_are_written(options: dict[str, Any]) -> None:
    body = io.BytesIO()
    pq.write_table(pa.table(COLUMNS), body, **options)
    checked = read_parquet(body.getvalue())
    assert checked.frame["score"].to_list() == [1.5, None, 2.0]
    assert checked.frame["text"].to_list() == ["x", None, "z"]


@pytest.mark.parametrize(("write", "read"), FORMS)
def test_a_body_without_rows_or_cut_short_is_refused(write: Write, read: Read) -> None:
    body = write(pa.table(COLUMNS))
    with pytest.raises(BodyError, match="no row"):
        read(write(pa.table(COLUMNS).slice(0, 0)))
    for size in (0, 3, len(body) // 2, len(body) - 20 if write is parquet else len(body) // 3):
        with pytest.raises(BodyError):
            read(body[:size])


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4), st.data())
def test_damaged_bodies_are_rows_or_a_refusal(damage: list[tuple[int, bytes]], data: st.DataObject) -> None:
    write, read = data.draw(st.sampled_from([(arrow, read_arrow), (parquet, read_parquet)]))
    body = bytearray(write(pa.table({**COLUMNS, "answer": pa.array(["x", "y", "x"]).dictionary_encode()})))
    for at, what in damage:
        body[at % len(body) : at % len(body) + len(what)] = what
    try:
        checked = read(bytes(body))
    except InvalidError:
        return
    assert checked.frame.height + len(checked.rejected) <= MAX_BODY_ROWS
    for name in ("event_id", "text", "answer"):
        assert all(isinstance(v, str | None) for v in checked.frame[name].to_list())


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_the_last_time_that_is_taken_is_the_same_in_every_unit(unit: Literal["ms", "us", "ns"]) -> None:
    per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    last = int((NOW + timedelta(days=1)).timestamp()) * per_second
    counted = [last, last + (999 if unit == "ns" else 0), last + max(1, per_second // 10**6)]
    checked = read_arrow(arrow(pa.table({**COLUMNS, "ts": pa.array(counted, pa.timestamp(unit, "UTC"))})))
    assert list(checked.lines) == [1, 2]
    assert [r.line for r in checked.rejected] == [3]


def test_the_zone_of_a_time_does_not_move_it() -> None:
    east = AT.astimezone(timezone(timedelta(hours=9)))
    checked = read_arrow(arrow(pa.table({**COLUMNS, "ts": pa.array([east] * 3, pa.timestamp("us", "+09:00"))})))
    assert checked.frame["ts"].to_list() == [AT] * 3

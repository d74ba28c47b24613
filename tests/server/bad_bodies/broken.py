"""Arrow and Parquet bodies that no writer of good faith makes."""

import io
import struct

import pyarrow as pa
import pyarrow.parquet as pq

from tests.server.bad_bodies.rows import Rows, as_columns, body_of, table, three


def replaced(body: bytes, at: int, piece: bytes) -> bytes:
    at %= len(body)
    return body[:at] + piece + body[at + len(piece) :]


def column_twice(form: str, rows: Rows) -> bytes:
    """A column that is there twice; the format itself does not mind."""
    content = table([rows.good() for _ in range(3)])
    return as_columns(form, content.append_column("event_id", content["event_id"]))


def very_wide(form: str, rows: Rows) -> bytes:
    return as_columns(form, table([rows.good()], **{f"k{i}": pa.array([1]) for i in range(1000)}))


def no_rows(form: str, rows: Rows) -> bytes:
    return as_columns(form, table([rows.good()]).slice(0, 0))


def bomb(form: str, rows: Rows) -> bytes:
    """Small as it is sent, and larger than the limit once its own packing is undone."""
    row = rows.good()
    name = "text" if "text" in row else "intent_true"
    content = table([row], **{name: pa.array(["x" * (6 << 20)])})
    return as_columns(form, content, compression="zstd")


def lying_footer(rows: Rows) -> bytes:
    """A Parquet file whose footer says that its large page is a small one."""
    row = rows.good()
    name = "text" if "text" in row else "intent_true"
    content = table([row], **{name: pa.array(["x" * (16 << 20)])})
    body = as_columns("parquet", content, compression="zstd", use_dictionary=False, write_statistics=False)
    group = pq.read_metadata(io.BytesIO(body)).row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    size = next(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
    start = len(body) - 8 - struct.unpack("<i", body[-8:-4])[0]
    footer = body[start:]
    for said in (size, group.total_byte_size):
        long = _varint(2 * said)
        assert footer.count(long) == 1
        footer = footer.replace(long, _varint(200, len(long)))
    return body[:start] + footer


def _varint(value: int, length: int = 0) -> bytes:
    out = bytearray()
    while value > 127 or len(out) + 1 < length:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def run_of_zeros(rows: Rows) -> bytes:
    """One vector of very many equal numbers: as a run it takes a few bytes."""
    count = 3_000_000
    zeros = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array([0.0])).dictionary_decode()
    vector = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), zeros)
    return as_columns("parquet", table([rows.good()], meaning=vector), compression="zstd")


def very_many_nulls(rows: Rows) -> bytes:
    """One vector of very many nulls, which have no buffer at all."""
    nulls = pa.FixedSizeListArray.from_arrays(pa.nulls(1 << 30), 1 << 30)
    return as_columns("arrow", table([rows.good()], meaning=nulls))


def deep_schema(depth: int) -> bytes:
    """A Parquet file without rows whose schema is a group within a group, and so on."""
    group, leaf = b"\x35\x00\x18\x01a\x15\x02\x00", b"\x15\x02\x25\x00\x18\x01a\x00"
    footer = b"\x15\x02\x19\xfc" + _varint(depth + 1) + group * depth + leaf + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<i", len(footer)) + b"PAR1"


def index_out_of_range(rows: Rows) -> bytes:
    """A dictionary of two texts, and an index of a third."""
    kind = "intent" if rows.kind == "events" else "intent_true"
    indices = pa.array([0, 7, 1], pa.int8())
    odd = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    return as_columns("arrow", table([rows.good() for _ in range(3)], **{kind: odd}))


def text_not_utf8(rows: Rows) -> bytes:
    """A column of strings whose bytes are not UTF-8."""
    kind = "intent" if rows.kind == "events" else "intent_true"
    return as_columns("arrow", table([rows.good() for _ in range(3)], **{kind: three("zqzqz")})).replace(
        b"zqzqz", b"zq\xffqz", 2
    )


def big_endian(rows: Rows) -> bytes:
    """A stream that says its numbers are big-endian; they are not."""
    body = bytearray(body_of("arrow", rows))
    metadata = 8
    root = metadata + struct.unpack_from("<I", body, metadata)[0]
    vtable = root - struct.unpack_from("<i", body, root)[0]
    header = root + struct.unpack_from("<H", body, vtable + 8)[0]
    schema = header + struct.unpack_from("<I", body, header)[0]
    own = schema - struct.unpack_from("<i", body, schema)[0]
    one = next(at for at in range(schema, len(body), 2) if body[at : at + 2] == b"\1\0" and at - schema >= 8)
    struct.pack_into("<H", body, own + 4, one - schema)
    return bytes(body)


def arrow_file(rows: Rows) -> bytes:
    content = table([rows.good()])
    out = io.BytesIO()
    with pa.ipc.new_file(out, content.schema) as writer:
        writer.write_table(content)
    return out.getvalue()

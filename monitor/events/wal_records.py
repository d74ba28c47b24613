"""Records of a write-ahead log: what they look like on disk, and how they are read back.

A record is `magic, checksums, lengths | header (JSON) | payload`. Its position is a number of bytes from the start of
the log, over all segments.
"""

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import IntegrityFailureError

if TYPE_CHECKING:
    import polars as pl

ARROW_FORM: Final = "arrow"  # the payload is an Arrow IPC stream
JSON_FORM: Final = "rows"  # the payload of a small batch: [[name, Delta type], ...], [[values of a row], ...]
MIN_COMPRESSED_ROWS: Final = 500  # compressing a smaller payload takes longer than writing it
_HEAD: Final = struct.Struct("<4sIIIQ")  # magic, checksums of the header and of the payload, lengths of both
_MAGIC: Final = b"AWL1"
MAX_HEADER_BYTES: Final = 4096  # of one that is looked for after damage; names of models are short
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RecordGoneError(Exception):
    """The record was flushed and its segment removed in the meantime: its rows are in the table."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a reader needs to know about a record without reading its rows; times in microseconds since 1970."""

    model: str
    kind: str
    first_seq: int
    rows: int
    received_at: int
    low_ts: int
    high_ts: int
    form: str = ARROW_FORM


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record lies, with its header."""

    log: str
    header: Header
    end: int  # position of the first byte after the record
    segment: Path
    offset: int  # of the payload in its segment
    size: int  # bytes of the payload
    checksum: int  # CRC-32 of the payload


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows too few to deserve a frame: times are microseconds since 1970, `seq` counts up from `first_seq`."""

    columns: Sequence[tuple[str, str]]  # name, Delta type
    rows: Sequence[Sequence[Any]]
    first_seq: int

    def encode(self) -> bytes:
        """The payload of the form `JSON_FORM`."""
        return json.dumps([self.columns, self.rows], ensure_ascii=False, separators=(",", ":")).encode()


def encode(frame: "pl.DataFrame") -> bytes:
    """The payload of the form `ARROW_FORM`."""
    import polars as pl

    out = io.BytesIO()
    # The oldest string layout holds only the bytes of these rows; string views would carry along whatever else their
    # buffers hold, such as a text before it was redacted.
    frame.write_ipc_stream(
        out, compression="lz4" if frame.height >= MIN_COMPRESSED_ROWS else "uncompressed",
        compat_level=pl.CompatLevel.oldest(),
    )  # fmt: skip
    return out.getvalue()


def batches_to_frame(batches: Sequence[RowBatch]) -> "pl.DataFrame":
    """Rows of batches with the same columns as one frame, with `seq`."""
    import polars as pl

    from monitor.lake.scan import DTYPES

    columns = batches[0].columns
    values = list(zip(*(row for batch in batches for row in batch.rows), strict=True))
    found = [
        pl.Series(name, values[i], dtype=pl.Int64).cast(DTYPES[kind]) if kind == "timestamp"
        else pl.Series(name, values[i], dtype=DTYPES[kind], strict=False)
        for i, (name, kind) in enumerate(columns)
    ]  # fmt: skip
    numbers = [batch.first_seq + i for batch in batches for i in range(len(batch.rows))]
    return pl.DataFrame([*found, pl.Series("seq", numbers, dtype=pl.Int64)])


def pack(header: Header, payload: bytes) -> tuple[bytes, int]:
    """Everything of a record that precedes its payload, and the checksum of the payload."""
    text = json.dumps({name: getattr(header, name) for name in Header.__slots__}, separators=(",", ":")).encode()
    checksum = zlib.crc32(payload)
    return _HEAD.pack(_MAGIC, zlib.crc32(text), checksum, len(text), len(payload)) + text, checksum


def read_rows(record: Record) -> "pl.DataFrame | RowBatch":
    """The rows of a record.

    Raises:
        RecordGoneError: the record was flushed in the meantime.
        IntegrityFailureError: the bytes are not those that were written.
    """
    import polars as pl

    try:
        with record.segment.open("rb") as file:
            file.seek(record.offset)
            payload = file.read(record.size)
    except FileNotFoundError:
        raise RecordGoneError from None
    if zlib.crc32(payload) != record.checksum:
        raise IntegrityFailureError(
            f"{record.segment} is damaged at byte {record.offset}", segment=str(record.segment), offset=record.offset
        )
    if record.header.form == JSON_FORM:
        columns, rows = json.loads(payload)
        return RowBatch([(name, kind) for name, kind in columns], rows, record.header.first_seq)
    return pl.read_ipc_stream(io.BytesIO(payload))


def records(segment: Path, log: str, *, after: int = 0, checked: bool = False) -> Iterator[Record]:
    """The complete records of a segment from the offset `after`; `checked` also verifies the payloads."""
    start = int(segment.stem)
    with segment.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        offset = after
        while offset + _HEAD.size <= length:
            file.seek(offset)
            magic, header_sum, payload_sum, header_size, size = _HEAD.unpack(file.read(_HEAD.size))
            payload_at = offset + _HEAD.size + header_size
            if magic != _MAGIC or payload_at + size > length:
                return
            text = file.read(header_size)
            if zlib.crc32(text) != header_sum or (checked and zlib.crc32(file.read(size)) != payload_sum):
                return
            offset = payload_at + size
            yield Record(log, Header(**json.loads(text)), start + offset, segment, payload_at, size, payload_sum)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of what may be a record."""

    header: Header | None  # None if it is damaged
    payload_at: int
    end: int
    checksum: int  # CRC-32 of the payload


def head_at(data: bytes, at: int) -> Head | None:
    """What stands at an offset where a record may begin; None if there is too little."""
    if at + _HEAD.size > len(data):
        return None
    magic, header_sum, payload_sum, header_size, size = _HEAD.unpack_from(data, at)
    payload_at = at + _HEAD.size + header_size
    text = data[at + _HEAD.size : payload_at]
    sound = magic == _MAGIC and zlib.crc32(text) == header_sum
    return Head(Header(**json.loads(text)) if sound else None, payload_at, payload_at + size, payload_sum)


def header_of(data: bytes, at: int, end: int) -> Header | None:
    """The header of a record whose ends are known, also if one bit in front of its payload was flipped."""
    head = head_at(data, at)
    if head is None:
        return None
    if head.header is not None and head.end == end:
        return head.header
    front = data[at : min(head.payload_at, at + _HEAD.size + MAX_HEADER_BYTES)]
    for bit in range(8 * len(front)):
        changed = bytearray(data[at : at + _HEAD.size + MAX_HEADER_BYTES])
        changed[bit // 8] ^= 1 << bit % 8
        mended = head_at(bytes(changed), 0)
        if mended is not None and mended.header is not None and at + mended.end == end:
            return mended.header
    return None


def sound_at(data: bytes, at: int) -> Head | None:
    """The record that begins at an offset, if all of it is as it was written."""
    head = head_at(data, at)
    if head is None or head.header is None or head.end > len(data):
        return None
    return head if zlib.crc32(data[head.payload_at : head.end]) == head.checksum else None


def marks(data: bytes, at: int) -> Iterator[int]:
    """Where a record may begin, from an offset on."""
    while (at := data.find(_MAGIC, at)) >= 0:
        yield at
        at += 1


def segments(folder: Path) -> list[Path]:
    """The segments of a log, oldest first."""
    return sorted(folder.glob("*.log"))


def from_micros(micros: int) -> datetime:
    """A time of a header."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(value: Any) -> int:
    """A time as a header holds it."""
    micros: int = (value - _EPOCH) // timedelta(microseconds=1)
    return micros

"""Compute the decompressed size of a Parquet file from its page headers, because nothing checks the sums in its footer.

This module reads footer and page headers itself: some damaged footers make pyarrow abort the process when it reads the
metadata of a column. The decoders decompress no more of a page than its header allows.

Source: parquet.thrift of the Parquet format, in Thrift's compact protocol.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.ndjson import BodyError

MAX_PAGES: Final = 100_000  # in one body; a usual page holds a megabyte or 20,000 values
MAX_FOOTER_BYTES: Final = 1 << 20  # ten thousand column chunks take about this much
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # PageType
_COUNT_FIELDS: Final = {
    _DATA: 5,
    _DICTIONARY: 7,
    _DATA_V2: 8,
}  # field id in PageHeader of the struct whose first field is the number of values
_BYTE_ARRAY: Final = 6  # Type
# Encodings of byte arrays that do not declare the decoded size.
_UNBOUNDED_ENCODINGS: Final = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}
_MAX_DEPTH: Final = 12  # nested structs
_I32, _I64, _LIST, _STRUCTURE = 5, 6, 9, 12  # field types of the compact protocol


@dataclass(frozen=True, slots=True)
class LeafColumn:
    """A leaf column of the file; the numbers of a list are a leaf of their own."""

    path: str
    length: int  # bytes of a fixed-length value, else 0
    in_list: bool


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group: its rows, and where the pages of each leaf column are."""

    rows: int
    chunks: list["_Chunk"]


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int
    end: int
    values: int
    unbounded: str  # name of an encoding without a declared size, or empty


def row_groups(body: bytes) -> list[RowGroup]:
    """Return the row groups that the footer describes.

    Raises:
        BodyError: the footer cannot be read, or is too long.
    """
    size = int.from_bytes(body[-8:-4], "little")
    if size > min(MAX_FOOTER_BYTES, len(body) - 8):
        raise BodyError(f"the footer of the Parquet file has {size} bytes; write larger row groups")
    footer = _Compact(body, len(body) - 8 - size).structure()
    return [_group(one) for one in footer.structures(4)]


def page_sizes(body: bytes, leaves: Sequence[LeafColumn], found: Sequence[RowGroup]) -> Iterator[int]:
    """Yield the most bytes that each page of the file may decompress to.

    Raises:
        BodyError: a page header cannot be read, the body has too many pages, or an encoding is not supported.
    """
    pages = 0
    for group in found:
        if len(group.chunks) != len(leaves):
            raise _damaged()
        for leaf, chunk in zip(leaves, group.chunks, strict=True):
            if chunk.unbounded:
                raise BodyError(
                    f"column {leaf.path[:100]} is encoded as {chunk.unbounded}, which is not supported; "
                    "write it as PLAIN or with a dictionary"
                )
            pages += 1  # a chunk without pages costs time too
            for page in _pages(body, chunk):
                pages += 1
                if pages > MAX_PAGES:
                    raise BodyError(
                        f"the body has more than {MAX_PAGES} pages and column chunks; write larger row groups"
                    )
                # A run of equal values takes a few bytes at any length; in a list column even within one row.
                yield max(page.size, page.values * 4 if leaf.in_list else 0, page.values * leaf.length)


@dataclass(frozen=True, slots=True)
class _Page:
    values: int
    size: int  # decompressed bytes


def _group(fields: "_Fields") -> RowGroup:
    chunks = [_chunk(one.structure(3)) for one in fields.structures(1)]
    return RowGroup(fields.count(3, _I64), chunks)


def _chunk(fields: "_Fields") -> _Chunk:
    start, size = fields.count(9, _I64), fields.count(7, _I64)
    if 11 in fields.found and 0 < (first := fields.count(11, _I64)) < start:
        start = first  # of the dictionary page
    used = [
        _UNBOUNDED_ENCODINGS[e]
        for e in fields.numbers(2)
        if e in _UNBOUNDED_ENCODINGS and fields.count(1, _I32) == _BYTE_ARRAY
    ]
    return _Chunk(start, start + size, fields.count(5, _I64), min(used, default=""))


def _pages(body: bytes, chunk: _Chunk) -> Iterator[_Page]:
    if chunk.end > len(body):
        raise _damaged()
    at, left = chunk.start, chunk.values
    while at < chunk.end and left > 0:
        reader = _Compact(body, at)
        fields = reader.structure()
        kind, packed = fields.count(1, _I32), fields.count(3, _I32)
        values = fields.structure(_COUNT_FIELDS[kind]).count(1, _I32) if kind in _COUNT_FIELDS else 0
        yield _Page(values, max(fields.count(2, _I32), packed))
        left -= values if kind in (_DATA, _DATA_V2) else 0
        at = reader.at + packed


@dataclass(frozen=True, slots=True)
class _Fields:
    """A struct: type and value of each field. A field of another type than the format declares means a damaged file."""

    found: dict[int, tuple[int, Any]]

    def count(self, field: int, kind: int) -> int:
        value = self._of(field, kind)
        if value < 0:
            raise _damaged()
        return int(value)

    def structure(self, field: int) -> "_Fields":
        found: _Fields = self._of(field, _STRUCTURE)
        return found

    def structures(self, field: int) -> list["_Fields"]:
        return [value for kind, value in self._of(field, _LIST) if _is(kind, _STRUCTURE)]

    def numbers(self, field: int) -> list[int]:
        return [value for kind, value in self._of(field, _LIST) if _is(kind, _I32)]

    def _of(self, field: int, kind: int) -> Any:
        found, value = self.found.get(field, (0, None))
        _is(found, kind)
        return value


def _is(kind: int, wanted: int) -> bool:
    if kind != wanted:
        raise _damaged()
    return True


class _Compact:
    """Reader of structs in Thrift's compact protocol; it skips the content of strings and doubles."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def structure(self, depth: int = 0) -> _Fields:
        if depth > _MAX_DEPTH:
            raise _damaged()
        found: dict[int, tuple[int, Any]] = {}
        field = 0
        while (head := self._byte()) & 15:
            step, kind = head >> 4, head & 15
            field = field + step if step else _signed(self._varint(), 16)
            if field in found:  # readers disagree on which of the two counts
                raise _damaged()
            found[field] = kind, self._value(kind, depth) if kind > 2 else None  # the header holds true and false
        return _Fields(found)

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:  # inside a list a boolean takes a byte
                return self._byte()
            case 4 | 5:
                return _signed(self._varint(), 32)
            case 6:
                return _signed(self._varint(), 64)
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 9 | 10:
                if depth > _MAX_DEPTH:
                    raise _damaged()
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._varint()
                return [(head & 15, self._value(head & 15, depth + 1)) for _ in range(size)]
            case 12:
                return self.structure(depth + 1)
            case _:  # a map, which the format does not use, or an unknown type
                raise _damaged()
        return None

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise _damaged()

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise _damaged()


def _signed(zigzag: int, bits: int) -> int:
    """Decode a zigzag integer as other readers do: bits beyond the width of the field are dropped."""
    zigzag &= (1 << bits) - 1
    return (zigzag >> 1) ^ -(zigzag & 1)


def _damaged() -> BodyError:
    return BodyError("the body cannot be read as a Parquet file: its footer or a page is damaged; write the file again")

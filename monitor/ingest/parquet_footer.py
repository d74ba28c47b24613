"""What a Parquet file unpacks to, by its pages: the sums in its footer are the sender's word, which nothing checks.

Footer and headers are read here, for pyarrow ends the process over a footer that is damaged in the right place when it
is asked about one column. The decoders unpack no more of a page than its header allows.

Source: parquet.thrift of the format, in Thrift's compact protocol.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.ingest.ndjson import BodyError

MAX_PAGES: Final = 100_000  # in one body; usual ones hold a megabyte or 20,000 values
MAX_FOOTER_BYTES: Final = 1 << 20  # bytes; ten thousand chunks of columns take about that
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # PageType
_COUNT_FIELDS: Final = {
    _DATA: 5,
    _DICTIONARY: 7,
    _DATA_V2: 8,
}  # the field of PageHeader that begins with the number of values
_BYTE_ARRAY: Final = 6  # Type
# Of texts written so nothing says how long they become.
_UNBOUNDED_ENCODINGS: Final = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}
_MAX_DEPTH: Final = 12  # structures within one
_I32, _I64, _LIST, _STRUCTURE = 5, 6, 9, 12  # kinds of fields


@dataclass(frozen=True, slots=True)
class LeafColumn:
    """A column as its values are written: a list's numbers are a column of their own."""

    path: str
    length: int  # bytes of a value of fixed length, else 0
    in_list: bool


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that are written together, and where the pages of each leaf are."""

    rows: int
    chunks: list["_Chunk"]


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int
    end: int
    values: int
    unbounded: str  # an encoding, or nothing


def row_groups(body: bytes) -> list[RowGroup]:
    """The row groups as the footer describes them.

    Raises:
        BodyError: it cannot be read, or is longer than is taken.
    """
    size = int.from_bytes(body[-8:-4], "little")
    if size > min(MAX_FOOTER_BYTES, len(body) - 8):
        raise BodyError(f"the footer of the Parquet file has {size} bytes; write larger row groups")
    footer = _Compact(body, len(body) - 8 - size).structure()
    return [_group(one) for one in footer.structures(4)]


def page_sizes(body: bytes, leaves: Sequence[LeafColumn], found: Sequence[RowGroup]) -> Iterator[int]:
    """Bytes that each page of the file may take, one page after another.

    Raises:
        BodyError: a header that cannot be read, more pages than are taken at once, or an encoding that is not taken.
    """
    pages = 0
    for group in found:
        if len(group.chunks) != len(leaves):
            raise _damaged()
        for leaf, chunk in zip(leaves, group.chunks, strict=True):
            if chunk.unbounded:
                raise BodyError(
                    f"column {leaf.path[:100]} is encoded as {chunk.unbounded}, which is not taken; "
                    "write it as PLAIN or with a dictionary"
                )
            pages += 1  # a chunk without a page takes its time too
            for page in _pages(body, chunk):
                pages += 1
                if pages > MAX_PAGES:
                    raise BodyError(
                        f"the body has more than {MAX_PAGES} pages and chunks of columns; write larger row groups"
                    )
                # A run of equal values takes a few bytes however long it is: of lists even in one row.
                yield max(page.size, page.values * 4 if leaf.in_list else 0, page.values * leaf.length)


@dataclass(frozen=True, slots=True)
class _Page:
    values: int
    size: int  # bytes, unpacked


def _group(fields: "_Fields") -> RowGroup:
    chunks = [_chunk(one.structure(3)) for one in fields.structures(1)]
    return RowGroup(fields.count(3, _I64), chunks)


def _chunk(fields: "_Fields") -> _Chunk:
    start, size = fields.count(9, _I64), fields.count(7, _I64)
    if 11 in fields.found and 0 < (first := fields.count(11, _I64)) < start:
        start = first  # of the dictionary
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
    """A structure: of each field its kind and value. A field of another kind than the format says is damage."""

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
    """Structures in Thrift's compact protocol; of texts and fractions only the length matters."""

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
            if field in found:  # readers differ about what counts then
                raise _damaged()
            found[field] = kind, self._value(kind, depth) if kind > 2 else None  # true and false are in the head
        return _Fields(found)

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:  # within a list truth values take a byte
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
            case _:  # a map, which the format does not use, or no kind at all
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
    """As the readers of the format take it: bits beyond the width of the field fall away."""
    zigzag &= (1 << bits) - 1
    return (zigzag >> 1) ^ -(zigzag & 1)


def _damaged() -> BodyError:
    return BodyError("the body is not a Parquet file that can be read: its footer or a page is damaged; write it anew")

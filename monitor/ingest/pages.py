"""What a Parquet file unpacks to, by its pages: the sums in its footer are the sender's word, which nothing checks.

Only the headers of the pages are read. The decoders unpack no more of a page than its header allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.parquet as pq

from monitor.ingest.ndjson import BodyError

MOST_PAGES: Final = 100_000  # in one body; usual ones hold a megabyte or 20,000 values
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # PageType
_OWN: Final = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}  # the field of PageHeader that begins with the number of values
_DEEPEST: Final = 8  # structures within a page header
# Of texts whose beginnings are shared nothing says how long they become.
_UNBOUNDED: Final = frozenset({"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"})


def unpacked(body: bytes, metadata: pq.FileMetaData) -> Iterator[int]:
    """Bytes that each page of the file may take, one page after another.

    Raises:
        BodyError: a header that cannot be read, more pages than are taken at once, or an encoding that is not taken.
    """
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    pages = 0
    for group in range(metadata.num_row_groups):
        for i, column in enumerate(columns):
            chunk = metadata.row_group(group).column(i)
            if column.physical_type == "BYTE_ARRAY" and (used := _UNBOUNDED.intersection(chunk.encodings)):
                raise BodyError(
                    f"column {column.path[:100]} is encoded as {min(used)}, which is not taken; write it as PLAIN or "
                    "with a dictionary"
                )  # fmt: skip
            pages += 1  # a chunk without a page takes its time too
            for page in _pages(body, chunk):
                pages += 1
                if pages > MOST_PAGES:
                    raise BodyError(
                        f"the body has more than {MOST_PAGES} pages and chunks of columns; write larger row groups"
                    )
                # A run of equal values takes a few bytes however long it is: of lists even in one row.
                repeated = page.values * 4 if column.max_repetition_level else 0
                yield max(page.size, repeated, page.values * (column.length or 0))


@dataclass(frozen=True, slots=True)
class _Page:
    values: int
    size: int  # bytes, unpacked


def _pages(body: bytes, chunk: pq.ColumnChunkMetaData) -> Iterator[_Page]:
    at = int(chunk.data_page_offset or 0)
    if chunk.has_dictionary_page and 0 < (first := chunk.dictionary_page_offset or 0) < at:
        at = first
    end, left = at + int(chunk.total_compressed_size or 0), int(chunk.num_values or 0)
    if not 0 <= at <= end <= len(body):
        raise _damaged()
    while at < end and left > 0:
        header = _Compact(body, at)
        fields = header.structure()
        kind, packed = _count(fields.get(1)), _count(fields.get(3))
        own = fields.get(_OWN.get(kind, 0), {})
        values = _count(own.get(1, 0)) if isinstance(own, dict) else 0
        yield _Page(values, max(_count(fields.get(2)), packed))
        left -= values if kind in (_DATA, _DATA_V2) else 0
        at = header.at + packed


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise _damaged()
    return value


class _Compact:
    """Structures in Thrift's compact protocol: whole numbers by their field; of the rest only the length matters."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def structure(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise _damaged()
        found: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) & 15:
            step = head >> 4
            field = field + step if step else _signed(self._varint(), 16)
            found[field] = self._value(head & 15, depth) if head & 15 > 2 else None  # true and false are in the head
        return found

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
                head = self._byte()
                for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                    self._value(head & 15, depth + 1)
            case 12:
                return self.structure(depth + 1)
            case _:  # a map, which no page header holds, or no kind at all
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
    return BodyError("the body is not a Parquet file that can be read: the header of a page is damaged; write it anew")

"""The id index of one large data file, stored next to the table: sorted digests on disk, a Bloom filter in memory.

A digest has two words: the first digests the row's key (an event's id), the second its whole identity. The outcomes of
one event are therefore adjacent, and can be found by the event as well as one by one.

    {lake}/_ids/key-{polars}.json                 seeds of the digests, drawn once per lake and Polars version
    {lake}/{model}/{kind}/_ids/{data file}.ids    header, filter, first words, second words, row numbers; little-endian

An index can be rebuilt from its data file. It is rebuilt when it does not match: other seeds, a wrong size, a torn
filter.
"""

import hashlib
import json
import os
import secrets
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.logs import logger
from monitor.lake.identity import RowIds

INDEX_FOLDER: Final = "_ids"
FILTER_BITS_PER_ID: Final = 16  # about one in 250 keys that the file lacks passes the filter and costs a disk access
_BITS_SET_PER_ID: Final = 5
_HEADER: Final = struct.Struct("<8s16sQQI")  # magic, fingerprint of the key, ids, filter words, crc32 of the filter
_MAGIC: Final = b"assayid2"
_FILTER_OFFSET: Final = 64  # bytes; everything from the filter on is aligned to 8 bytes

Words = NDArray[np.uint64]
Digest = tuple[int, int]  # both words
_NO_ROWS: Final = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True)
class DigestKey:
    """How ids become digests: 128 bits rule out collisions in practice, and no sender knows the seeds."""

    seeds: tuple[int, int]
    salt: str

    @classmethod
    def draw(cls) -> "DigestKey":
        """A new random key."""
        return cls((secrets.randbits(63), secrets.randbits(63)), secrets.token_hex(8))

    @classmethod
    def of(cls, lake: Path) -> "DigestKey":
        """The lake's key, drawn if it has none. If it cannot be stored, this process uses a key of its own."""
        path = lake / INDEX_FOLDER / f"key-{pl.__version__}.json"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                drawn = cls.draw()
                draft = path.with_name(f".{uuid4()}")
                draft.write_text(json.dumps({"seeds": drawn.seeds, "salt": drawn.salt}))
                try:
                    os.link(draft, path)  # if several processes draw one, the first is kept
                except FileExistsError:
                    pass
                finally:
                    draft.unlink()
            document = json.loads(path.read_text())
            return cls((document["seeds"][0], document["seeds"][1]), document["salt"])
        except OSError as error:
            logger(__name__).warning("id key not kept", folder=str(lake), error=str(error))
            return cls.draw()

    def words(self, ids: RowIds) -> tuple[Words, Words]:
        """Shapes (ids,): the two halves of each row's digest."""
        salted = pl.Series([self.salt]) + ids.whole
        return self.first(ids.keys), salted.to_frame().hash_rows(self.seeds[1]).to_numpy()

    def digests(self, ids: Sequence[str]) -> list[Digest]:
        """`words` of a few rows that their id alone identifies; faster than arrays for so few."""
        salted = [self.salt + i for i in ids]
        halves = [
            pl.Series(texts, dtype=pl.String).to_frame().hash_rows(seed).to_list()
            for texts, seed in zip((ids, salted), self.seeds, strict=True)
        ]
        return list(zip(*halves, strict=True))

    def first(self, keys: pl.Series) -> Words:
        """Shape (keys,): the first word, which digests the key."""
        return keys.to_frame().hash_rows(self.seeds[0]).to_numpy()

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that change with the key, and with the digests that Polars computes under it."""
        some = pl.Series(["", "a", "assay-17-characters", "long" * 40])
        first, second = self.words(RowIds.plain(some))
        return hashlib.blake2b(first.tobytes() + second.tobytes(), digest_size=16).digest()


class FileIds:
    """The ids of one data file, by digest; it takes `FILTER_BITS_PER_ID` bits of memory for each."""

    def __init__(self, path: Path, key: DigestKey) -> None:
        """Open an index.

        Raises:
            OSError: the index does not exist or cannot be read.
            ValueError: it is incomplete, or was built under another key.
        """
        with path.open("rb") as file:
            head = file.read(_FILTER_OFFSET)
            magic, fingerprint, self.count, words, crc = _HEADER.unpack_from(head.ljust(_FILTER_OFFSET, b"\0"))
            size = _FILTER_OFFSET + 8 * words + 20 * self.count
            if (magic, fingerprint) != (_MAGIC, key.fingerprint) or os.fstat(file.fileno()).st_size != size:
                raise ValueError(f"{path} is not an index of this table")
            self._filter: Words = np.frombuffer(file.read(8 * words), dtype="<u8")
        if zlib.crc32(self._filter.tobytes()) != crc:
            raise ValueError(f"{path} is torn")
        mapped = np.memmap(path, dtype=np.uint8, mode="r", offset=0)
        at = _FILTER_OFFSET + 8 * words
        self._first: Words = mapped[at : at + 8 * self.count].view("<u8")
        self._second: Words = mapped[at + 8 * self.count : at + 16 * self.count].view("<u8")
        self._row: NDArray[np.uint32] = mapped[at + 16 * self.count :].view("<u4")

    @property
    def nbytes(self) -> int:
        """Size in memory; the digests are memory-mapped, and read only for ids that pass the filter."""
        return self._filter.nbytes

    def look_up(self, wanted: "WantedRows") -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Which of the wanted rows are in the data file.

        Returns:
            Shapes (found,): positions in `wanted`, and row numbers in the data file.
        """
        maybe = self._passed(wanted.keys)
        if not len(maybe):  # nearly always, if the ids are new
            return maybe, _NO_ROWS
        at, hit = look_up(self._first, self._second, wanted.keys.first[maybe], wanted.second[maybe])
        return maybe[hit], self._row[at[hit]]

    def has(self, digest: Digest) -> bool:
        """Whether one row is in the data file: `look_up` for a single digest."""
        first = digest[0]
        mask = 0
        for i in range(_BITS_SET_PER_ID):
            mask |= 1 << ((first >> 6 * i) & 63)
        if int(self._filter[((first >> 32) * len(self._filter)) >> 32]) & mask != mask:
            return False
        return contains_digest(self._first, self._second, digest)

    def rows_of(self, keys: "WantedKeys") -> NDArray[np.uint32]:
        """The rows of any of the keys, in no order."""
        first = keys.first[self._passed(keys)]
        return self._row[key_positions(self._first, first)] if len(first) else _NO_ROWS

    def _passed(self, keys: "WantedKeys") -> NDArray[np.intp]:
        words = np.take(self._filter, keys.places(len(self._filter)))
        words &= keys.mask
        return np.flatnonzero(words == keys.mask)


class WantedKeys:
    """Keys to look up, with their bits in a filter word, which are the same for every file."""

    def __init__(self, first: Words) -> None:
        self.first = first
        self.mask = np.zeros(len(first), dtype=np.uint64)  # the bits that each key sets in its filter word
        for i in range(_BITS_SET_PER_ID):
            self.mask |= np.uint64(1) << ((first >> np.uint64(6 * i)) & np.uint64(63))
        self._high = first >> np.uint64(32)

    def places(self, words: int) -> NDArray[np.int64]:
        """Shape (keys,): the position of each key's word in a filter of `words` words; ascending with `first`."""
        return ((self._high * np.uint64(words)) >> np.uint64(32)).view(np.int64)


class WantedRows:
    """Rows to look up, by their digests."""

    def __init__(self, first: Words, second: Words) -> None:
        self.keys, self.second = WantedKeys(first), second


def digest_order(first: Words, second: Words) -> NDArray[np.intp]:
    """Shape (rows,): the permutation that sorts digests by their first and then their second word."""
    order = np.argsort(first, kind="stable")  # a stable sort merges adjacent sorted runs
    ordered = first[order]
    return np.lexsort((second, first)) if (ordered[1:] == ordered[:-1]).any() else order


def look_up(firsts: Words, seconds: Words, first: Words, second: Words) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find digests among sorted ones.

    Args:
        firsts, seconds: shapes (n,), n >= 1: digests in `digest_order`.
        first, second: shapes (m,): the digests to find.

    Returns:
        Shapes (m,): the position of each digest among the sorted ones, valid where the second array is True.
    """
    last = len(firsts) - 1
    at = np.minimum(np.searchsorted(firsts, first), last)
    hit = (firsts[at] == first) & (seconds[at] == second)
    several = np.flatnonzero(~hit & (firsts[at] == first))  # a key with more than one row: bisect by the second word
    if len(several):
        wanted, low = second[several], at[several]
        high = np.searchsorted(firsts, first[several], side="right")
        while (open_ := low < high).any():
            middle = np.minimum((low + high) // 2, last)
            below = open_ & (seconds[middle] < wanted)
            low, high = np.where(below, middle + 1, low), np.where(open_ & ~below, middle, high)
        at[several] = np.minimum(low, last)
        hit[several] = (firsts[at[several]] == first[several]) & (seconds[at[several]] == wanted)
    return at, hit


def contains_digest(firsts: Words, seconds: Words, digest: Digest) -> bool:
    """Whether a digest is among others that are in `digest_order`."""
    first, second = np.uint64(digest[0]), np.uint64(digest[1])
    at = int(firsts.searchsorted(first))
    while at < len(firsts) and firsts[at] == first:
        if seconds[at] == second:
            return True
        at += 1
    return False


def key_positions(firsts: Words, first: Words) -> NDArray[np.intp]:
    """Positions of the rows with any of the keys `first` among digests in `digest_order`."""
    first = np.unique(first)
    start, end = np.searchsorted(firsts, first), np.searchsorted(firsts, first, side="right")
    counts = end - start
    before = np.cumsum(counts) - counts
    return np.repeat(start - before, counts) + np.arange(counts.sum())


def path_of(table: Path, data_file: str) -> Path:
    """The index file of a data file."""
    return table / INDEX_FOLDER / f"{Path(data_file).name}.ids"


def build_index(table: Path, data_file: str, ids: RowIds, key: DigestKey) -> Path:
    """Write the index of a data file; `ids` are those of its rows in order. Raises OSError if it cannot be written."""
    first, second = key.words(ids)
    order = digest_order(first, second)
    first, second = first[order], second[order]
    words = max(1, -(-len(first) * FILTER_BITS_PER_ID // 64))
    bits = np.zeros(words, dtype=np.uint64)
    if len(first):
        stored = WantedKeys(first)
        places, starts = np.unique(stored.places(words), return_index=True)
        bits[places] = np.bitwise_or.reduceat(stored.mask, starts)
    head = _HEADER.pack(_MAGIC, key.fingerprint, len(first), words, zlib.crc32(bits.tobytes()))
    path = path_of(table, data_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid4()}")
    try:
        with draft.open("wb") as file:
            file.write(head.ljust(_FILTER_OFFSET, b"\0"))
            for part in (bits, first, second, order.astype(np.uint32)):
                file.write(part.tobytes())
            file.flush()
            os.fsync(file.fileno())  # so that a file of the right size has the right content
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def remove_orphaned_indexes(table: Path) -> None:
    """Remove the indexes of data files that no longer exist."""
    indexes = list((table / INDEX_FOLDER).glob("*.ids"))  # listed first: a data file is written before its index
    kept = {f"{path.name}.ids" for path in table.glob("*/*.parquet")}
    for path in indexes:
        if path.name not in kept:
            path.unlink(missing_ok=True)

"""Ids of one large data file, in a file beside the table: sorted digests on disk, a filter in memory.

A row's digest has two words: the first is its key's (an event's id), the second the whole identity's. Outcomes of one
event thus stand side by side, and are found by the event alone as well as one by one.

    {lake}/_ids/key-{polars}.json                 seeds of the digests, drawn once per lake and Polars version
    {lake}/{model}/{kind}/_ids/{data file}.ids    header, filter, first words, second words, row numbers; little-endian

All of it can be made again from the data files, and is where it does not fit: other seeds, another size, a torn filter.
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
from monitor.lake.identity import Ids

FOLDER: Final = "_ids"
FILTER_BITS: Final = 16  # for each id: one key in some 250 that the file lacks costs a look at the disk
_BITS_SET: Final = 5
_HEADER: Final = struct.Struct("<8s16sQQI")  # magic, fingerprint of the key, ids, filter words, crc32 of the filter
_MAGIC: Final = b"assayid2"
_START: Final = 64  # of the filter; everything after it is aligned to 8 bytes

Words = NDArray[np.uint64]
Pair = tuple[int, int]  # both words of one row
_NO_ROWS: Final = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True)
class Key:
    """How ids become digests: 128 bits make a collision impossible in practice, and no sender knows the seeds."""

    seeds: tuple[int, int]
    salt: str

    @classmethod
    def draw(cls) -> "Key":
        return cls((secrets.randbits(63), secrets.randbits(63)), secrets.token_hex(8))

    @classmethod
    def of(cls, lake: Path) -> "Key":
        """The lake's key, drawn where it has none. Without room for it, one for this process alone."""
        path = lake / FOLDER / f"key-{pl.__version__}.json"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                drawn = cls.draw()
                draft = path.with_name(f".{uuid4()}")
                draft.write_text(json.dumps({"seeds": drawn.seeds, "salt": drawn.salt}))
                try:
                    os.link(draft, path)  # of several processes the first one's stays
                except FileExistsError:
                    pass
                finally:
                    draft.unlink()
            document = json.loads(path.read_text())
            return cls((document["seeds"][0], document["seeds"][1]), document["salt"])
        except OSError as error:
            logger(__name__).warning("id key not kept", folder=str(lake), error=str(error))
            return cls.draw()

    def words(self, ids: Ids) -> tuple[Words, Words]:
        """Shapes (ids,): the two halves of each row's digest."""
        salted = pl.Series([self.salt]) + ids.whole
        return self.first(ids.keys), salted.to_frame().hash_rows(self.seeds[1]).to_numpy()

    def pairs(self, ids: Sequence[str]) -> list[Pair]:
        """`words` of a few rows that their id alone tells apart: arrays of them would take longer."""
        salted = [self.salt + i for i in ids]
        halves = [
            pl.Series(texts, dtype=pl.String).to_frame().hash_rows(seed).to_list()
            for texts, seed in zip((ids, salted), self.seeds, strict=True)
        ]
        return list(zip(*halves, strict=True))

    def first(self, keys: pl.Series) -> Words:
        """Shape (keys,): the half that a key alone gives."""
        return keys.to_frame().hash_rows(self.seeds[0]).to_numpy()

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that change with the key, and with what Polars makes of it."""
        some = pl.Series(["", "a", "assay-17-characters", "long" * 40])
        first, second = self.words(Ids.plain(some))
        return hashlib.blake2b(first.tobytes() + second.tobytes(), digest_size=16).digest()


class FileIds:
    """The ids of one data file, by digest; in memory: `FILTER_BITS` for each."""

    def __init__(self, path: Path, key: Key) -> None:
        """Open an index. Raises OSError or ValueError where it is missing or is not a whole one of this key."""
        with path.open("rb") as file:
            head = file.read(_START)
            magic, fingerprint, self.count, words, crc = _HEADER.unpack_from(head.ljust(_START, b"\0"))
            size = _START + 8 * words + 20 * self.count
            if (magic, fingerprint) != (_MAGIC, key.fingerprint) or os.fstat(file.fileno()).st_size != size:
                raise ValueError(f"{path} is not an index of this table")
            self._filter: Words = np.frombuffer(file.read(8 * words), dtype="<u8")
        if zlib.crc32(self._filter.tobytes()) != crc:
            raise ValueError(f"{path} is torn")
        mapped = np.memmap(path, dtype=np.uint8, mode="r", offset=0)
        at = _START + 8 * words
        self._first: Words = mapped[at : at + 8 * self.count].view("<u8")
        self._second: Words = mapped[at + 8 * self.count : at + 16 * self.count].view("<u8")
        self._row: NDArray[np.uint32] = mapped[at + 16 * self.count :].view("<u4")

    @property
    def nbytes(self) -> int:
        """What it takes in memory; the digests are mapped, and read only where the filter lets an id through."""
        return self._filter.nbytes

    def look_up(self, wanted: "Wanted") -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Which of the rows are in the data file, as positions in `wanted`, and in which row of it."""
        maybe = self._passed(wanted.keys)
        if not len(maybe):  # nearly always, for ids that are new
            return maybe, _NO_ROWS
        at, hit = look_up(self._first, self._second, wanted.keys.first[maybe], wanted.second[maybe])
        return maybe[hit], self._row[at[hit]]

    def has(self, pair: Pair) -> bool:
        """`look_up` of one row."""
        first = pair[0]
        mask = 0
        for i in range(_BITS_SET):
            mask |= 1 << ((first >> 6 * i) & 63)
        if int(self._filter[((first >> 32) * len(self._filter)) >> 32]) & mask != mask:
            return False
        return has(self._first, self._second, pair)

    def rows_of(self, keys: "WantedKeys") -> NDArray[np.uint32]:
        """The rows of any of the keys, in no order."""
        first = keys.first[self._passed(keys)]
        return self._row[positions(self._first, first)] if len(first) else _NO_ROWS

    def _passed(self, keys: "WantedKeys") -> NDArray[np.intp]:
        words = np.take(self._filter, keys.places(len(self._filter)))
        words &= keys.mask
        return np.flatnonzero(words == keys.mask)


class WantedKeys:
    """Keys to look up, with what every file's filter is asked for."""

    def __init__(self, first: Words) -> None:
        self.first = first
        self.mask = np.zeros(len(first), dtype=np.uint64)  # bits of its filter word that a key sets
        for i in range(_BITS_SET):
            self.mask |= np.uint64(1) << ((first >> np.uint64(6 * i)) & np.uint64(63))
        self._high = first >> np.uint64(32)

    def places(self, words: int) -> NDArray[np.int64]:
        """Shape (keys,): each key's word in a filter of so many; ascending with `first`."""
        return ((self._high * np.uint64(words)) >> np.uint64(32)).view(np.int64)


class Wanted:
    """Rows to look up, by their digests."""

    def __init__(self, first: Words, second: Words) -> None:
        self.keys, self.second = WantedKeys(first), second


def in_order(first: Words, second: Words) -> NDArray[np.intp]:
    """Shape (rows,): what sorts digests by their first and then their second word."""
    order = np.argsort(first, kind="stable")  # sorted runs side by side are merged, not sorted again
    ordered = first[order]
    return np.lexsort((second, first)) if (ordered[1:] == ordered[:-1]).any() else order


def look_up(firsts: Words, seconds: Words, first: Words, second: Words) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where digests lie among others that are `in_order`, at least one; and which of them do lie there."""
    last = len(firsts) - 1
    at = np.minimum(np.searchsorted(firsts, first), last)
    hit = (firsts[at] == first) & (seconds[at] == second)
    several = np.flatnonzero(~hit & (firsts[at] == first))  # a key with more than one row: bisected by the second word
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


def has(firsts: Words, seconds: Words, pair: Pair) -> bool:
    """Whether one row's digest is among others that are `in_order`."""
    first, second = np.uint64(pair[0]), np.uint64(pair[1])
    at = int(firsts.searchsorted(first))
    while at < len(firsts) and firsts[at] == first:
        if seconds[at] == second:
            return True
        at += 1
    return False


def positions(firsts: Words, first: Words) -> NDArray[np.intp]:
    """Where rows of any of these keys lie among digests that are `in_order`."""
    first = np.unique(first)
    start, end = np.searchsorted(firsts, first), np.searchsorted(firsts, first, side="right")
    counts = end - start
    before = np.cumsum(counts) - counts
    return np.repeat(start - before, counts) + np.arange(counts.sum())


def path_of(table: Path, data_file: str) -> Path:
    return table / FOLDER / f"{Path(data_file).name}.ids"


def build(table: Path, data_file: str, ids: Ids, key: Key) -> Path:
    """Write the index of a data file; `ids` are those of its rows in order. Raises OSError where it cannot."""
    first, second = key.words(ids)
    order = in_order(first, second)
    first, second = first[order], second[order]
    words = max(1, -(-len(first) * FILTER_BITS // 64))
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
            file.write(head.ljust(_START, b"\0"))
            for part in (bits, first, second, order.astype(np.uint32)):
                file.write(part.tobytes())
            file.flush()
            os.fsync(file.fileno())  # so that a file of the right size has the right content
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def clean(table: Path) -> None:
    """Remove indexes whose data file is gone."""
    indexes = list((table / FOLDER).glob("*.ids"))  # before the data files: these come first
    kept = {f"{path.name}.ids" for path in table.glob("*/*.parquet")}
    for path in indexes:
        if path.name not in kept:
            path.unlink(missing_ok=True)

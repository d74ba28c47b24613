"""Ids of one large data file, in a file beside the table: sorted digests on disk, a filter in memory.

    {table}/_ids/key-{polars}.json       seeds of the digests, drawn once per table and Polars version
    {table}/_ids/{data file}.ids         header, filter, first words, second words, row numbers; little-endian

All of it can be made again from the data files, and is where it does not fit: other seeds, another size, a torn filter.
"""

import hashlib
import json
import os
import secrets
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.logs import logger

FOLDER: Final = "_ids"
FILTER_BITS: Final = 16  # for each id: one id in some 250 that the file lacks costs a look at the disk
_BITS_SET: Final = 5
_HEADER: Final = struct.Struct("<8s16sQQI")  # magic, fingerprint of the key, ids, filter words, crc32 of the filter
_MAGIC: Final = b"assayid1"
_START: Final = 64  # of the filter; everything after it is aligned to 8 bytes

Words = NDArray[np.uint64]
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
    def of(cls, table: Path) -> "Key":
        """The table's key, drawn where it has none. Without room for it, one for this process alone."""
        path = table / FOLDER / f"key-{pl.__version__}.json"
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
            logger(__name__).warning("id key not kept", folder=str(table), error=str(error))
            return cls.draw()

    def words(self, ids: pl.Series) -> tuple[Words, Words]:
        """Shapes (ids,): the two halves of each id's digest."""
        # In one go, and without a plan: for a few ids planning takes longer than hashing.
        plain, salted = ids.alias("plain"), (pl.Series([self.salt]) + ids).alias("salted")
        found = pl.DataFrame([plain, salted]).select_seq(*self._hashes)
        return found.to_series(0).to_numpy(), found.to_series(1).to_numpy()

    @cached_property
    def _hashes(self) -> tuple[pl.Expr, pl.Expr]:
        return pl.col("plain").hash(self.seeds[0]), pl.col("salted").hash(self.seeds[1])

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that change with the key, and with what Polars makes of it."""
        first, second = self.words(pl.Series(["", "a", "assay-17-characters", "long" * 40]))
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
        """Which of the ids are in the data file, as positions in `wanted`, and in which row of it."""
        words = np.take(self._filter, wanted.places(len(self._filter)))
        words &= wanted.mask
        maybe = np.flatnonzero(words == wanted.mask)
        if not len(maybe):  # nearly always, for ids that are new
            return maybe, _NO_ROWS
        first = wanted.first[maybe]
        at = np.minimum(np.searchsorted(self._first, first), self.count - 1)
        hit = (self._first[at] == first) & (self._second[at] == wanted.second[maybe])
        return maybe[hit], self._row[at[hit]]


class Wanted:
    """Digests to look up, with what every file's filter is asked for."""

    def __init__(self, first: Words, second: Words) -> None:
        self.first, self.second = first, second
        self.mask = np.zeros(len(second), dtype=np.uint64)  # bits of its filter word that an id sets
        for i in range(_BITS_SET):
            self.mask |= np.uint64(1) << ((second >> np.uint64(6 * i)) & np.uint64(63))
        self._high = first >> np.uint64(32)

    def places(self, words: int) -> NDArray[np.int64]:
        """Shape (ids,): each id's word in a filter of so many; ascending with `first`."""
        return ((self._high * np.uint64(words)) >> np.uint64(32)).view(np.int64)


def path_of(table: Path, data_file: str) -> Path:
    return table / FOLDER / f"{Path(data_file).name}.ids"


def build(table: Path, data_file: str, ids: pl.Series, key: Key) -> Path:
    """Write the index of a data file; `ids` are its event ids in row order. Raises OSError where it cannot."""
    first, second = key.words(ids)
    order = np.argsort(first, kind="stable")
    first, second = first[order], second[order]
    words = max(1, -(-len(first) * FILTER_BITS // 64))
    bits = np.zeros(words, dtype=np.uint64)
    if len(first):
        stored = Wanted(first, second)
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

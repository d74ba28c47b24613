"""Which event ids a table already holds, kept in memory so that an append does not read the table again."""

import secrets
import threading
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from monitor.lake import Table
    from monitor.snapshot import DataFile, Snapshot

# Two seeds drawn per process: 128 bits per id make a collision impossible in practice, and nobody can aim at one.
_SEEDS = (secrets.randbits(63), secrets.randbits(63))
_SALT = secrets.token_hex(8)

Words = NDArray[np.uint64]


def _words(ids: pl.Series) -> tuple[Words, Words]:
    salted = pl.select(pl.concat_str([pl.lit(_SALT), ids])).to_series()
    return ids.hash(_SEEDS[0]).to_numpy(), salted.hash(_SEEDS[1]).to_numpy()


class IdIndex:
    """A growing set of ids as sorted 128-bit digests; 16 bytes an id. Only adds, so merging sorted runs is enough."""

    def __init__(self) -> None:
        self._runs: list[tuple[Words, Words]] = []

    def __len__(self) -> int:
        return sum(len(first) for first, _ in self._runs)

    def add(self, ids: pl.Series) -> None:
        if not len(ids):
            return
        self._runs.append(_sorted(*_words(ids)))
        # Runs at least double in size downwards, so an id is merged about log2(ids) times in all.
        while len(self._runs) > 1 and len(self._runs[-1][0]) * 2 > len(self._runs[-2][0]):
            (a, b), (c, d) = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted(np.concatenate((c, a)), np.concatenate((d, b))))

    def contains(self, ids: pl.Series) -> NDArray[np.bool_]:
        """Shape (ids,): True where the id was added before."""
        found = np.zeros(len(ids), dtype=np.bool_)
        if len(ids) and self._runs:
            first, second = _words(ids)
            # Looked up in ascending order, neighbours in the run are neighbours in memory.
            order = np.argsort(first)
            first, second = first[order], second[order]
            for known, beside in self._runs:
                at = np.minimum(np.searchsorted(known, first), len(known) - 1)
                found[order] |= (known[at] == first) & (beside[at] == second)
        return found


def _sorted(first: Words, second: Words) -> tuple[Words, Words]:
    order = np.argsort(first, kind="stable")  # sorted runs side by side are merged, not sorted again
    return first[order], second[order]


class TableIds:
    """Ids of one table: of its files, and of rows that were accepted and are in no file yet."""

    def __init__(self, table: "Table") -> None:
        self.table = table
        self.index: IdIndex = IdIndex()
        self._files: set[str] = set()
        self._seen: Snapshot | None = None  # a table of many files is not gone through again for each append
        self._guard = threading.Lock()

    def current(self) -> IdIndex:
        snapshot = self.table.snapshot()
        with self._guard:
            if snapshot is self._seen:
                return self.index
            added: list[DataFile] = [f for f in snapshot.files if f.path not in self._files]
            if added:
                ids = self.table.scan_files(snapshot, added).select("event_id").collect()["event_id"]
                self.index.add(ids.filter(pl.Series(~self.index.contains(ids))))
                self._files.update(f.path for f in added)
            self._seen = snapshot
            return self.index

    def extend(self, ids: pl.Series) -> None:
        """Take in rows that were accepted."""
        with self._guard:
            self.index.add(ids)

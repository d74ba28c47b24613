"""Ids in memory: the sorted digests of rows that no index file covers, each with the number of the row's data file."""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.lake import id_file
from monitor.lake.id_file import Digest, DigestKey, FileIds, WantedKeys, WantedRows, Words
from monitor.lake.identity import RowIds

MAX_SINGLE_LOOKUPS: Final = 64  # ids; so few are looked up one by one: sorting arrays would take longer
MAX_LOOSE_DIGESTS: Final = 1024  # kept unsorted
_LOOSE_DIGEST_BYTES: Final = 200  # of memory for each
NO_FILE: Final = 0
Numbers = NDArray[np.uint32]
_Run = tuple[Words, Words, Numbers]


class IdIndex:
    """A growing set of rows: sorted 128-bit digests, each with the number of its file; 20 bytes a row."""

    def __init__(self, key: DigestKey) -> None:
        self.key = key
        self._runs: list[_Run] = []
        self._loose: dict[Digest, None] = {}  # of rows added a few at a time, in no file and in no run yet

    def __len__(self) -> int:
        return sum(len(first) for first, _, _ in self._runs) + len(self._loose)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return sum(part.nbytes for run in self._runs for part in run) + _LOOSE_DIGEST_BYTES * len(self._loose)

    def add(self, ids: RowIds, files: Numbers | None = None) -> None:
        """Add rows; for a row that is known already only its file is recorded.

        Args:
            ids: the rows.
            files: shape (ids,), the number of each row's file; None if they are in no file yet.
        """
        self.add_words(*self.key.words(ids), files)

    def add_words(self, first: Words, second: Words, files: Numbers | None = None) -> None:
        """`add` of rows given by their digests."""
        if not len(first):
            return
        if files is None and len(first) <= MAX_SINGLE_LOOKUPS:
            new = self.files(first, second) < 0
            self.add_digests(list(zip(first[new].tolist(), second[new].tolist(), strict=True)))
            return
        self._sort_loose()
        self._add(first, second, np.full(len(first), NO_FILE, dtype=np.uint32) if files is None else files)

    def _sort_loose(self) -> None:
        """Make a run of the loose digests."""
        if self._loose:
            words = np.array(list(self._loose), dtype=np.uint64)
            self._loose = {}
            self._add(words[:, 0].copy(), words[:, 1].copy(), np.full(len(words), NO_FILE, dtype=np.uint32))

    def _add(self, first: Words, second: Words, files: Numbers) -> None:
        first, second, numbers = _sorted(first, second, files)
        new = np.ones(len(first), dtype=np.bool_)
        for run in self._runs:
            at, hit = id_file.look_up(run[0], run[1], first, second)
            new &= ~hit
            named = hit & (numbers != NO_FILE)
            run[2][at[named]] = numbers[named]
        new[1:] &= (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        if new.any():
            self._append((first[new], second[new], numbers[new]))

    def _append(self, run: _Run) -> None:
        self._runs.append(run)
        # Each run is at least twice as long as the next, so a row is merged about log2(rows) times in all.
        while len(self._runs) > 1 and len(self._runs[-1][0]) * 2 > len(self._runs[-2][0]):
            late, early = self._runs.pop(), self._runs.pop()
            self._runs.append(
                _sorted(
                    np.concatenate((early[0], late[0])),
                    np.concatenate((early[1], late[1])),
                    np.concatenate((early[2], late[2])),
                )
            )

    def files(self, first: Words, second: Words) -> NDArray[np.int64]:
        """Shape (rows,): the number of each row's file, -1 where the row is not known."""
        found = np.full(len(first), -1, dtype=np.int64)
        if self._loose and len(first) > MAX_SINGLE_LOOKUPS:
            self._sort_loose()
        for run in self._runs:
            at, hit = id_file.look_up(run[0], run[1], first, second)
            found[hit] = run[2][at[hit]]
        if self._loose:
            for i, digest in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
                if digest in self._loose:
                    found[i] = NO_FILE
        return found

    def files_of(self, keys: WantedKeys) -> set[int]:
        """Numbers of the files that have rows with any of these keys."""
        return {int(n) for run in self._runs for n in np.unique(run[2][id_file.key_positions(run[0], keys.first)])}

    def has(self, digest: Digest) -> bool:
        """Whether a row was added before: `files` for a single digest."""
        return digest in self._loose or any(id_file.contains_digest(run[0], run[1], digest) for run in self._runs)

    def add_new(self, first: Words, second: Words) -> None:
        """`add_words` of distinct rows that are not known."""
        if len(first) <= MAX_SINGLE_LOOKUPS:
            self.add_digests(list(zip(first.tolist(), second.tolist(), strict=True)))
        else:
            self._append(_sorted(first, second, np.full(len(first), NO_FILE, dtype=np.uint32)))

    def add_digests(self, digests: Collection[Digest]) -> None:
        """Add a few distinct rows that are not known and are in no file yet."""
        self._loose.update(dict.fromkeys(digests))
        if len(self._loose) > MAX_LOOSE_DIGESTS:
            self._sort_loose()

    def forget(self, numbers: Collection[int]) -> None:
        """Drop the rows of some files."""
        self._sort_loose()
        gone = np.fromiter(numbers, dtype=np.uint32, count=len(numbers))
        self._keep([~np.isin(run[2], gone) for run in self._runs])

    def forget_filed(self, file: FileIds) -> None:
        """Drop the rows without a file that turned out to be in `file`."""
        self._sort_loose()
        kept = []
        for first, second, numbers in self._runs:
            unfiled = np.flatnonzero(numbers == NO_FILE)
            mask = np.ones(len(first), dtype=np.bool_)
            mask[unfiled[file.look_up(WantedRows(first[unfiled], second[unfiled]))[0]]] = False
            kept.append(mask)
        self._keep(kept)

    def _keep(self, masks: list[NDArray[np.bool_]]) -> None:
        pairs = zip(self._runs, masks, strict=True)
        self._runs = [run if m.all() else (run[0][m], run[1][m], run[2][m]) for run, m in pairs if m.any()]


def _sorted(first: Words, second: Words, numbers: Numbers) -> _Run:
    order = id_file.digest_order(first, second)
    return first[order], second[order], numbers[order]

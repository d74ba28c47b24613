"""Which rows a table already holds, and where: so that an append or a look-up does not read the table.

In memory lie 2 bytes for each row of a large data file (a filter; its digests are in a file, see idfile.py) and 20
bytes for each other row: of small files, which compaction makes few, and of rows that are in no file yet. One index
serves both questions: is this very row known, and which rows are there of this key (idfile.py).
"""

import threading
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.logs import logger
from monitor.lake import id_file
from monitor.lake.id_file import FileIds, Key, Pair, Wanted, WantedKeys, Words
from monitor.lake.identity import Ids

if TYPE_CHECKING:
    from monitor.lake.snapshot import DataFile, Snapshot

LARGE: Final = 20_000  # rows from which on a data file gets an index file
AT_ONCE: Final = 1_000_000  # rows whose ids are read at a time
AT_ONCE_BYTES: Final = 64 << 20  # or of their files, as on disk: of outcomes the values are read too
FEW: Final = 64  # ids that are looked up one by one: sorting arrays would take longer
MOST_FEW: Final = 1024  # kept that way
MOST_WRITTEN: Final = 16
_FEW_BYTES: Final = 200  # that one of them takes
NO_FILE: Final = 0
Numbers = NDArray[np.uint32]
_Run = tuple[Words, Words, Numbers]


class IdIndex:
    """A growing set of rows as sorted 128-bit digests, each with the number of the file that has it; 20 bytes a row."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._runs: list[_Run] = []
        self._few: dict[Pair, None] = {}  # that came a few at a time, in no file yet and in no run

    def __len__(self) -> int:
        return sum(len(first) for first, _, _ in self._runs) + len(self._few)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for run in self._runs for part in run) + _FEW_BYTES * len(self._few)

    def add(self, ids: Ids, files: Numbers | None = None) -> None:
        """Take in rows; one that is known already only learns its file.

        Args:
            files: shape (ids,), the number of each row's file; without, they are in no file yet.
        """
        self.add_words(*self.key.words(ids), files)

    def add_words(self, first: Words, second: Words, files: Numbers | None = None) -> None:
        """`add` of ids given as digests."""
        if not len(first):
            return
        if files is None and len(first) <= FEW:
            new = self.files(first, second) < 0
            self.add_pairs(list(zip(first[new].tolist(), second[new].tolist(), strict=True)))
            return
        self._gather()
        self._add(first, second, np.full(len(first), NO_FILE, dtype=np.uint32) if files is None else files)

    def _gather(self) -> None:
        """Make a run of the ids that came a few at a time."""
        if self._few:
            words = np.array(list(self._few), dtype=np.uint64)
            self._few = {}
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
        # Runs at least double in size downwards, so an id is merged about log2(ids) times in all.
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
        """Shape (rows,): number of the file that has each row, -1 where the row is not known."""
        found = np.full(len(first), -1, dtype=np.int64)
        if self._few and len(first) > FEW:
            self._gather()
        for run in self._runs:
            at, hit = id_file.look_up(run[0], run[1], first, second)
            found[hit] = run[2][at[hit]]
        if self._few:
            for i, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
                if pair in self._few:
                    found[i] = NO_FILE
        return found

    def files_of(self, keys: WantedKeys) -> set[int]:
        """Numbers of the files that have rows of any of these keys."""
        return {int(n) for run in self._runs for n in np.unique(run[2][id_file.positions(run[0], keys.first)])}

    def has(self, pair: Pair) -> bool:
        """`files` of one row: whether it was added before."""
        return pair in self._few or any(id_file.has(run[0], run[1], pair) for run in self._runs)

    def add_new(self, first: Words, second: Words) -> None:
        """`add_words` of rows that differ and are not known."""
        if len(first) <= FEW:
            self.add_pairs(list(zip(first.tolist(), second.tolist(), strict=True)))
        else:
            self._append(_sorted(first, second, np.full(len(first), NO_FILE, dtype=np.uint32)))

    def add_pairs(self, pairs: Collection[Pair]) -> None:
        """Take in a few rows that are not known, and are in no file yet."""
        self._few.update(dict.fromkeys(pairs))
        if len(self._few) > MOST_FEW:
            self._gather()

    def contains(self, ids: Ids) -> NDArray[np.bool_]:
        """Shape (ids,): True where the row was added before."""
        return self.files(*self.key.words(ids)) >= 0

    def forget(self, numbers: Collection[int]) -> None:
        """Drop the ids of some files."""
        self._gather()
        gone = np.fromiter(numbers, dtype=np.uint32, count=len(numbers))
        self._keep([~np.isin(run[2], gone) for run in self._runs])

    def forget_filed(self, file: FileIds) -> None:
        """Drop the ids without a file that `file` turned out to have."""
        self._gather()
        kept = []
        for first, second, numbers in self._runs:
            loose = np.flatnonzero(numbers == NO_FILE)
            mask = np.ones(len(first), dtype=np.bool_)
            mask[loose[file.look_up(Wanted(first[loose], second[loose]))[0]]] = False
            kept.append(mask)
        self._keep(kept)

    def _keep(self, masks: list[NDArray[np.bool_]]) -> None:
        pairs = zip(self._runs, masks, strict=True)
        self._runs = [run if m.all() else (run[0][m], run[1][m], run[2][m]) for run, m in pairs if m.any()]


def _sorted(first: Words, second: Words, numbers: Numbers) -> _Run:
    order = id_file.in_order(first, second)
    return first[order], second[order], numbers[order]


class IndexedTable(Protocol):
    """What an index asks of its table."""

    folder: Path
    key: Key | None

    def snapshot(self) -> "Snapshot": ...

    def ids_of(self, paths: Sequence[str]) -> tuple[Ids, pl.Series]: ...


class TableIds:
    """Ids of one table's rows: of its files, and of rows that were accepted and are in no file yet."""

    def __init__(self, table: IndexedTable) -> None:
        self.table = table
        self._indexed: dict[str, FileIds] = {}
        self._numbers: dict[str, int] = {}  # of small files
        self._last = NO_FILE
        self._written: dict[str, tuple[Words, Words]] = {}  # of small files of this process, not taken in yet
        self._seen: Snapshot | None = None  # a table of many files is not gone through again for each append
        self._guard = threading.RLock()

    @cached_property
    def _key(self) -> Key:
        return self.table.key or Key.of(self.table.folder.parents[1])

    @cached_property
    def _recent(self) -> IdIndex:
        return IdIndex(self._key)

    @property
    def nbytes(self) -> int:
        """What the ids take in memory."""
        return self._recent.nbytes + sum(file.nbytes for file in self._indexed.values())

    def current(self) -> "TableIds":
        """This, with what was committed since the last look."""
        with self._guard:
            while (snapshot := self.table.snapshot()) is not self._seen:
                try:
                    self._take_in(snapshot)
                except FileNotFoundError:  # deleted between the look at the log and the one at the file
                    if self.table.snapshot() is snapshot:
                        raise
        return self

    def extend(self, ids: Ids) -> None:
        """Take in rows that were accepted."""
        with self._guard:
            self._recent.add_words(*self._key.words(ids))

    def has(self, pair: Pair) -> bool:
        """`contains` of one row, by its digest."""
        with self._guard:
            return self._recent.has(pair) or any(file.has(pair) for file in self._indexed.values())

    def extend_pairs(self, pairs: Collection[Pair], since: "Snapshot | None") -> None:
        """`extend_new` of a few rows."""
        with self._guard:
            self._recent.add_pairs(pairs if self._seen is since else [pair for pair in pairs if not self.has(pair)])

    def extend_new(self, first: Words, second: Words, since: "Snapshot | None") -> None:
        """`extend` of rows that differ and were not known when `seen` was `since`, by their digests.

        Once they are in the log they may be folded, and taken in with their file, before they get here.
        """
        with self._guard:
            if self._seen is not since:
                new = ~self.contains(first, second)
                first, second = first[new], second[new]
            self._recent.add_new(first, second)

    @property
    def seen(self) -> "Snapshot | None":
        """The version whose files were taken in last."""
        return self._seen

    def words(self, ids: Ids) -> tuple[Words, Words]:
        """Shapes (ids,): the digests of the rows under the lake's key."""
        return self._key.words(ids)

    def contains(self, first: Words, second: Words) -> NDArray[np.bool_]:
        """Shape (rows,): True where the row with these digests is known."""
        if not len(first):
            return np.zeros(0, dtype=np.bool_)
        # Looked up in ascending order, neighbours in the index are neighbours in memory.
        order = np.argsort(first)
        first, second = first[order], second[order]
        wanted = Wanted(first, second)
        with self._guard:
            known = self._recent.files(first, second) >= 0
            for file in self._indexed.values():
                known[file.look_up(wanted)[0]] = True
        found = np.empty(len(first), dtype=np.bool_)
        found[order] = known
        return found

    def locate(self, key: str) -> "tuple[Snapshot, list[tuple[DataFile, int | None]]]":
        """The files that have rows of a key, with the version they belong to.

        Of a large file with one such row also its number; it may be another key's, in one of 2^64 cases.
        """
        keys = WantedKeys(self._key.first(pl.Series([key])))
        with self._guard:
            snapshot = self.current()._seen
            assert snapshot is not None
            numbers = self._recent.files_of(keys)
            rows: dict[str, int | None] = {path: None for path, n in self._numbers.items() if n in numbers}
            for path, file in self._indexed.items():
                if len(found := file.rows_of(keys)):
                    rows[path] = int(found[0]) if len(found) == 1 else None
        return snapshot, [(f, rows[f.path]) for f in snapshot.files if f.path in rows]

    def lacking(self, keys: pl.Series) -> set[str]:
        """Paths of files that have no row of any of these keys; of a file that is not known nothing is said."""
        wanted = WantedKeys(np.sort(self._key.first(keys)))
        with self._guard:
            self.current()
            numbers = self._recent.files_of(wanted)
            found = {path for path, n in self._numbers.items() if n not in numbers}
            return found | {path for path, file in self._indexed.items() if not len(file.rows_of(wanted))}

    def discard(self, path: str) -> None:
        """A data file that was written will not be committed."""
        with self._guard:
            self._written.pop(path, None)
        id_file.path_of(self.table.folder, path).unlink(missing_ok=True)

    def _take_in(self, snapshot: "Snapshot") -> None:
        present = {f.path for f in snapshot.files}
        fresh = [f for f in snapshot.files if f.path not in self._indexed and f.path not in self._numbers]
        small = [f for f in fresh if f.rows < LARGE]
        for file in (f for f in fresh if f.rows >= LARGE):
            if (opened := self._open(file.path)) is None:
                small.append(file)
            else:
                self._indexed[file.path] = opened
                self._recent.forget_filed(opened)
        self._remember(small)
        gone = [self._numbers.pop(path) for path in [p for p in self._numbers if p not in present]]
        if gone:
            self._recent.forget(gone)
        for path in [p for p in self._indexed if p not in present]:
            del self._indexed[path]
        self._seen = snapshot

    def _open(self, path: str) -> FileIds | None:
        """The index of a data file, made where there is none that fits; None where there is no room for it."""
        place = id_file.path_of(self.table.folder, path)
        try:
            return FileIds(place, self._key)
        except (OSError, ValueError):
            self.write(path, self.table.ids_of([path])[0])
        try:
            return FileIds(place, self._key)
        except (OSError, ValueError):
            return None

    def write(self, path: str, ids: Ids) -> None:
        """Index a data file that was just written: so that no append has to read it.

        A large one gets a file of its own; where that cannot be written, its ids will be kept in memory.
        """
        if len(ids) < LARGE:
            with self._guard:
                self._written[path] = self._key.words(ids)
                while len(self._written) > MOST_WRITTEN:  # replaced by compaction before anybody looked, say
                    self._written.pop(next(iter(self._written)))
            return
        try:
            id_file.build(self.table.folder, path, ids, self._key)
        except OSError as error:
            logger(__name__).warning("id index not written", file=path, error=str(error))

    def _remember(self, files: "list[DataFile]") -> None:
        """Take the ids of files without an index into memory."""
        for file in [f for f in files if f.path in self._written]:
            files.remove(file)
            first, second = self._written.pop(file.path)
            self._last += 1
            self._recent.add_words(first, second, np.full(len(first), self._last, dtype=np.uint32))
            self._numbers[file.path] = self._last
        while files:
            some = [files.pop()]
            count, size = some[0].rows, some[0].size
            while files and (count := count + files[-1].rows) <= AT_ONCE:
                if (size := size + files[-1].size) > AT_ONCE_BYTES:
                    break
                some.append(files.pop())
            ids, paths = self.table.ids_of([f.path for f in some])
            numbers = {f.path: self._last + 1 + i for i, f in enumerate(some)}
            self._last += len(some)
            self._recent.add(ids, paths.replace_strict(numbers, return_dtype=pl.UInt32).to_numpy().copy())
            self._numbers.update(numbers)

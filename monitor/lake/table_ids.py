"""Which rows a table already holds, and in which file: so that an append or a look-up does not read the table.

In memory each row of a large data file takes 2 bytes (a filter; its digests are in an index file, see id_file.py) and
each other row takes 20 bytes (id_index.py): rows of small files, which compaction keeps few, and rows that are in no
file yet. The same index answers two questions: is this row known, and which files have rows with this key.
"""

import threading
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.logs import logger
from monitor.lake import id_file
from monitor.lake.id_file import Digest, DigestKey, FileIds, WantedKeys, WantedRows, Words
from monitor.lake.id_index import NO_FILE, IdIndex
from monitor.lake.identity import RowIds
from monitor.lake.snapshot import DataFile, Snapshot

MIN_INDEXED_ROWS: Final = 20_000  # a data file with fewer rows gets no index file
MAX_ROWS_PER_READ: Final = 1_000_000  # whose ids are read at once
MAX_BYTES_PER_READ: Final = 64 << 20  # of their files on disk: for outcomes the values are read too
MAX_PENDING_FILES: Final = 16  # small files of this process whose ids are kept until they are taken in


class IndexedTable(Protocol):
    """What the index reads of the table that it belongs to."""

    @property
    def folder(self) -> Path:
        """Where the table lies: {lake}/{model}/{kind}."""
        ...

    @property
    def key(self) -> DigestKey | None:
        """The key of the digests; None for the one stored in the lake."""
        ...

    def snapshot(self) -> Snapshot:
        """The newest version."""
        ...

    def ids_of(self, paths: Sequence[str]) -> tuple[RowIds, pl.Series]:
        """Identity and file path of each row of some files, in order; FileNotFoundError if one was deleted."""
        ...


class TableIds:
    """The ids of one table: of the rows in its files, and of rows that were accepted and are in no file yet."""

    def __init__(self, table: IndexedTable) -> None:
        self.table = table
        self._indexed: dict[str, FileIds] = {}
        self._numbers: dict[str, int] = {}  # of small files
        self._last = NO_FILE
        self._pending: dict[str, tuple[Words, Words]] = {}  # of small files of this process, not taken in yet
        self._seen: Snapshot | None = None  # so that an append does not go through all files of the table again
        self._guard = threading.RLock()

    @cached_property
    def _key(self) -> DigestKey:
        return self.table.key or DigestKey.of(self.table.folder.parents[1])

    @cached_property
    def _recent(self) -> IdIndex:
        return IdIndex(self._key)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self._recent.nbytes + sum(file.nbytes for file in self._indexed.values())

    def current(self) -> "TableIds":
        """This index, brought up to date with the newest version of the table."""
        with self._guard:
            while (snapshot := self.table.snapshot()) is not self._seen:
                try:
                    self._take_in(snapshot)
                except FileNotFoundError:  # deleted after the log was read and before the file was
                    if self.table.snapshot() is snapshot:
                        raise
        return self

    def extend(self, ids: RowIds) -> None:
        """Add rows that were accepted."""
        with self._guard:
            self._recent.add_words(*self._key.words(ids))

    def has(self, digest: Digest) -> bool:
        """Whether a row is known: `contains` for a single digest."""
        with self._guard:
            return self._recent.has(digest) or any(file.has(digest) for file in self._indexed.values())

    def extend_digests(self, digests: Collection[Digest], since: Snapshot | None) -> None:
        """`extend_new` for a few rows."""
        with self._guard:
            self._recent.add_digests(digests if self._seen is since else [d for d in digests if not self.has(d)])

    def extend_new(self, first: Words, second: Words, since: Snapshot | None) -> None:
        """`extend` for distinct rows that were not known when `seen` was `since`, given by their digests.

        Once rows are in the log they may be flushed, and taken in with their file, before this is called.
        """
        with self._guard:
            if self._seen is not since:
                new = ~self.contains(first, second)
                first, second = first[new], second[new]
            self._recent.add_new(first, second)

    @property
    def seen(self) -> Snapshot | None:
        """The newest version whose files were taken in."""
        return self._seen

    def words(self, ids: RowIds) -> tuple[Words, Words]:
        """Shapes (ids,): the digests of the rows under the lake's key."""
        return self._key.words(ids)

    def contains(self, first: Words, second: Words) -> NDArray[np.bool_]:
        """Shape (rows,): True where the row with these digests is known."""
        if not len(first):
            return np.zeros(0, dtype=np.bool_)
        # In ascending order, consecutive look-ups read adjacent memory.
        order = np.argsort(first)
        first, second = first[order], second[order]
        wanted = WantedRows(first, second)
        with self._guard:
            known = self._recent.files(first, second) >= 0
            for file in self._indexed.values():
                known[file.look_up(wanted)[0]] = True
        found = np.empty(len(first), dtype=np.bool_)
        found[order] = known
        return found

    def locate(self, key: str) -> tuple[Snapshot, list[tuple[DataFile, int | None]]]:
        """The files that have rows with a key, and the version they belong to.

        For a large file with one such row its row number is included; in one of 2^64 cases the row has another key.
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
        """Paths of files that have no row with any of these keys; only files that the index knows are included."""
        wanted = WantedKeys(np.sort(self._key.first(keys)))
        with self._guard:
            self.current()
            numbers = self._recent.files_of(wanted)
            found = {path for path, n in self._numbers.items() if n not in numbers}
            return found | {path for path, file in self._indexed.items() if not len(file.rows_of(wanted))}

    def discard(self, path: str) -> None:
        """Forget a data file that was written and will not be committed."""
        with self._guard:
            self._pending.pop(path, None)
        id_file.path_of(self.table.folder, path).unlink(missing_ok=True)

    def _take_in(self, snapshot: Snapshot) -> None:
        present = {f.path for f in snapshot.files}
        fresh = [f for f in snapshot.files if f.path not in self._indexed and f.path not in self._numbers]
        small = [f for f in fresh if f.rows < MIN_INDEXED_ROWS]
        for file in (f for f in fresh if f.rows >= MIN_INDEXED_ROWS):
            if (opened := self._open(file.path)) is None:
                small.append(file)
            else:
                self._indexed[file.path] = opened
                self._recent.forget_filed(opened)
        self._load(small)
        gone = [self._numbers.pop(path) for path in [p for p in self._numbers if p not in present]]
        if gone:
            self._recent.forget(gone)
        for path in [p for p in self._indexed if p not in present]:
            del self._indexed[path]
        self._seen = snapshot

    def _open(self, path: str) -> FileIds | None:
        """The index of a data file, built if it is missing or does not match; None if it cannot be written."""
        index = id_file.path_of(self.table.folder, path)
        try:
            return FileIds(index, self._key)
        except (OSError, ValueError):
            self.write(path, self.table.ids_of([path])[0])
        try:
            return FileIds(index, self._key)
        except (OSError, ValueError):
            return None

    def write(self, path: str, ids: RowIds) -> None:
        """Index a data file that was just written, so that no append has to read it.

        A large file gets an index file; if that cannot be written, its ids will be kept in memory.
        """
        if len(ids) < MIN_INDEXED_ROWS:
            with self._guard:
                self._pending[path] = self._key.words(ids)
                while (
                    len(self._pending) > MAX_PENDING_FILES
                ):  # compaction, say, replaced the file before it was taken in
                    self._pending.pop(next(iter(self._pending)))
            return
        try:
            id_file.build_index(self.table.folder, path, ids, self._key)
        except OSError as error:
            logger(__name__).warning("id index not written", file=path, error=str(error))

    def _load(self, files: list[DataFile]) -> None:
        """Take the ids of files that have no index file into memory."""
        for file in [f for f in files if f.path in self._pending]:
            files.remove(file)
            first, second = self._pending.pop(file.path)
            self._last += 1
            self._recent.add_words(first, second, np.full(len(first), self._last, dtype=np.uint32))
            self._numbers[file.path] = self._last
        while files:
            some = [files.pop()]
            count, size = some[0].rows, some[0].size
            while files and (count := count + files[-1].rows) <= MAX_ROWS_PER_READ:
                if (size := size + files[-1].size) > MAX_BYTES_PER_READ:
                    break
                some.append(files.pop())
            ids, paths = self.table.ids_of([f.path for f in some])
            numbers = {f.path: self._last + 1 + i for i, f in enumerate(some)}
            self._last += len(some)
            self._recent.add(ids, paths.replace_strict(numbers, return_dtype=pl.UInt32).to_numpy().copy())
            self._numbers.update(numbers)

"""The tables of every model in a lake, with their unflushed rows: opened, locked, flushed and closed."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidError
from monitor.events.columns import KINDS
from monitor.events.flush import Flusher, flush_orphans, flush_table
from monitor.events.unflushed import UnflushedRows
from monitor.events.wal_records import Record
from monitor.lake.identity import IDENTITIES

if TYPE_CHECKING:
    from monitor.lake.id_file import DigestKey
    from monitor.lake.snapshot import Snapshot
    from monitor.lake.table import LakeTable


class EventTables:
    """The tables `{lake}/{model}/{kind}` and the logs in front of them."""

    def __init__(self, lake_uri: str, home: Path) -> None:
        """
        Args:
            lake_uri: a local folder, with or without `file://`.
            home: holds the locks and the logs.

        Raises:
            InvalidError: the lake is not a local folder.
        """
        path = lake_uri.removeprefix("file://")
        if "://" in path:
            raise InvalidError(
                f"lake.uri {lake_uri!r} is not a local folder; this release keeps its Delta tables on a local disk",
                field="lake.uri",
            )
        self.root = Path(path).expanduser()
        self.lock_dir = home / "locks"
        self.unflushed = UnflushedRows(home / "wal")
        self._tables: dict[tuple[str, str], LakeTable] = {}
        self._guard = threading.Lock()
        self._locked = threading.local()

    def table(self, model: str, kind: str) -> "LakeTable":
        """One table of a model; `kind` is one of `KINDS`."""
        from monitor.lake.table import LakeTable

        with self._guard:
            if (found := self._tables.get((model, kind))) is None:
                found = self._tables[model, kind] = LakeTable(self.root / model / kind, IDENTITIES[kind], self._key)
            return found

    @cached_property
    def _key(self) -> "DigestKey":
        from monitor.lake.id_file import DigestKey

        return DigestKey.of(self.root)

    @contextmanager
    def locked(self, model: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the exclusive right to write a model's tables, across threads and processes; a thread may re-enter.

        The kernel releases the lock of a killed process. Rows are still accepted meanwhile: they go to the logs.

        Raises:
            BlockingIOError: another holds the right, and the caller does not want to wait.
        """
        held: dict[str, int] = self._locked.__dict__.setdefault("models", {})
        if model in held:
            yield
            return
        self.lock_dir.mkdir(parents=True, exist_ok=True)
        with (self.lock_dir / f"{model}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            held[model] = 1
            try:
                yield
            finally:
                del held[model]

    def settle(self, model: str) -> None:
        """Flush the rows of a model. Callers that pin a version of a table, or rewrite its files, settle first."""
        with self.locked(model):
            for kind in KINDS:
                flush_table(self.table(model, kind), self.unflushed, (model, kind))

    def flusher(self) -> Flusher:
        """A thread, not started yet, that flushes in the background."""
        return Flusher(self.unflushed, self.table, self.locked)

    def flush_orphans(self) -> None:
        """Flush the logs of processes that died."""
        flush_orphans(self.unflushed, self.table, self.locked)

    def close(self) -> None:
        """Flush what this process has accepted and release its log."""
        try:
            for model, _ in self.unflushed.backlog():
                self.settle(model)
        finally:
            self.unflushed.close()

    def check_writable(self) -> None:
        """Raise OSError if the lake's folder cannot be written (readiness)."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / ".ready"
        probe.write_bytes(b"ready")
        probe.unlink(missing_ok=True)

    def _reached(self, model: str, kind: str) -> tuple["Snapshot", list[Record]]:
        """The newest version of a table, and the records that it lacks.

        The logs are read first, then the table: rows that are flushed in between are found in both and counted once.
        In the other order they would be found in neither.
        """
        self.unflushed.refresh()
        table = self.table(model, kind)
        waiting = self.unflushed.pending((model, kind), {})
        table.watch(self.unflushed.names)
        snapshot = table.snapshot()
        return snapshot, [r for r in waiting if r.end > snapshot.txns.get(r.log, 0)]

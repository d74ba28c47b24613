"""The log of a Delta table on a local disk: durable entries, checkpoints, and the removal of old entries.

Delta loses its old versions when the log is cleaned. Here each version leaves a number behind, the `seq` after its last
row: rows keep their `seq` through every rewrite, so a lost version equals the newest one restricted to smaller `seq`.
"""

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from core.artifacts import fsync_folder
from core.errors import BusyError
from core.logs import logger

VERSION_ENDS_FILE: Final = "_versions.seq"  # next to the log: one little-endian int64 for each lost version, in order
_END: Final = struct.Struct("<q")


def fsync_file(path: Path) -> None:
    """Make the content of a file durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class DeltaLog:
    """`_delta_log` of the table in the folder `table`."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.folder = table / "_delta_log"
        self._synced_entries: set[Path] = set()  # folders whose own directory entry this process has made durable

    def entry(self, version: int) -> Path:
        """The file of a version's log entry."""
        return self.folder / f"{version:020}.json"

    def has_version(self, version: int) -> bool:
        """Whether the log has an entry for a version."""
        # Each request calls this twice, and building a Path would take longer than the check itself.
        return os.path.exists(f"{self.folder}/{version:020}.json")  # noqa: PTH110

    def is_empty(self) -> bool:
        """Whether the log has no entry at all."""
        try:
            return not any(name.endswith(".json") for name in os.listdir(self.folder))  # noqa: PTH208 - as above
        except FileNotFoundError:
            return True

    def commit(self, version: int, actions: Sequence[Mapping[str, Any]]) -> None:
        """Publish one version: durable and visible when this returns, or not published.

        Raises:
            BusyError: another writer has published this version.
        """
        draft = self.folder / f"_commit_{uuid4()}.json.tmp"
        try:
            with draft.open("w") as file:
                file.writelines(json.dumps(a, separators=(",", ":")) + "\n" for a in actions)
                file.flush()
                os.fsync(file.fileno())
            # Where a rename would overwrite, a link fails: no two writers can publish the same version.
            os.link(draft, self.entry(version))
        except FileExistsError as error:
            raise BusyError(
                f"another program wrote version {version} of {self.table} meanwhile; send the request again"
            ) from error
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
        fsync_folder(self.folder)
        for folder in (self.folder, self.table, self.table.parent):
            self.sync_entry_once(folder)

    def sync_entry_once(self, folder: Path) -> None:
        """Make a folder's entry in its parent durable, once per process: its creator may have died before doing so."""
        if folder not in self._synced_entries:
            fsync_folder(folder.parent)
            self._synced_entries.add(folder)

    def note_created(self, folder: Path) -> None:
        """Note that a folder was just created: its entry is not durable yet."""
        self._synced_entries.discard(folder)

    def checkpoint(self) -> bool:
        """Write a checkpoint, so that opening the table stays fast; returns whether the newest version has one.

        A failure is only logged: the log is complete without checkpoints.
        """
        try:
            table = DeltaTable(self.table)
            if next(self.folder.glob(f"{table.version():020}.checkpoint*"), None) is not None:
                return True
            table.create_checkpoint()
            for path in self.folder.glob(f"{table.version():020}.checkpoint*"):
                fsync_file(path)
            fsync_folder(self.folder)
        except (OSError, DeltaError) as error:
            logger(__name__).warning("delta checkpoint not written", folder=str(self.table), error=str(error))
            return False
        return True

    def removed_since(self, at: datetime) -> set[str]:
        """Paths of the data files that log entries written since `at` removed."""
        found: set[str] = set()
        for _, path in self._entries(newest_first=True):
            try:
                if path.stat().st_mtime < at.timestamp():
                    break
                found.update(action["remove"]["path"] for action in _actions(path) if "remove" in action)
            except FileNotFoundError:
                break  # cleaned meanwhile, like everything before it
        return found

    def clean(self, *, keep: timedelta, now: datetime) -> list[str]:
        """Remove entries and checkpoints before the newest checkpoint that is older than `keep`; returns their names.

        Every version that was the newest one within `keep` can still be opened by any Delta reader.
        """
        edge = (now - keep).timestamp()
        checkpoints = sorted({int(p.name[:20]) for p in self.folder.glob(f"{'[0-9]' * 20}.checkpoint*")})
        old_enough = [v for v in checkpoints if self._written_at(v) <= edge]
        if not old_enough:
            return []
        base = old_enough[-1]
        self._record_ends(base)
        doomed = [p for v, p in self._entries() if v < base]
        doomed += [p for v in checkpoints if v < base for p in self.folder.glob(f"{v:020}.checkpoint*")]
        for path in doomed:
            path.unlink(missing_ok=True)
        if doomed:
            fsync_folder(self.folder)
        return [p.name for p in doomed]

    def _written_at(self, version: int) -> float:
        return max((p.stat().st_mtime for p in self.folder.glob(f"{version:020}.checkpoint*")), default=float("inf"))

    def end_of(self, version: int) -> int | None:
        """The `seq` after the last row of a lost version; None if the version is in the log or never existed."""
        with suppress(FileNotFoundError), (self.table / VERSION_ENDS_FILE).open("rb") as file:
            file.seek(version * _END.size)
            if len(found := file.read(_END.size)) == _END.size:
                return int(_END.unpack(found)[0])
        return None

    def _record_ends(self, base: int) -> None:
        """Record where the versions before `base` end, before their entries are removed."""
        path = self.table / VERSION_ENDS_FILE
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            known = size // _END.size
            file.truncate(known * _END.size)  # a write that a crash interrupted
            file.seek(max(0, known - 1) * _END.size)
            end = _END.unpack(file.read(_END.size))[0] if known else 0
            for version in range(known, base):
                with suppress(
                    FileNotFoundError
                ):  # an entry that another program removed: the end of the version before
                    end = max(end, _end(self.entry(version)))
                file.write(_END.pack(end))
            file.flush()
            os.fsync(file.fileno())
        if not known:
            fsync_folder(self.table)

    def _entries(self, *, newest_first: bool = False) -> Iterator[tuple[int, Path]]:
        for path in sorted(self.folder.glob(f"{'[0-9]' * 20}.json"), reverse=newest_first):
            yield int(path.stem), path


def _actions(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def _end(path: Path) -> int:
    """The `seq` after the last row that an entry adds; 0 if it adds none."""
    added = [json.loads(a["add"]["stats"]) for a in _actions(path) if a.get("add", {}).get("stats")]
    return max((s["maxValues"]["seq"] + 1 for s in added if s.get("maxValues", {}).get("seq") is not None), default=0)


def milliseconds(at: datetime) -> int:
    """A time as Delta's log holds it."""
    return int(at.astimezone(UTC).timestamp() * 1000)

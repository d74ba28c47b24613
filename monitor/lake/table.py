"""One Delta table on a local disk, written durably: what is committed survives a power loss.

`deltalake` reads the log and writes its checkpoints. The commit itself is written here, because deltalake makes no
fsync call and publishes a commit before the data it names is safe: a power loss, or a disk that fills up, could leave
a log entry pointing at a torn file. Here the order is data file, fsync, log entry under a temporary name, fsync, link
into place, fsync of the folders; nothing can fail after the rows become visible. It also costs a tenth of the CPU.
"""

import errno
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import polars as pl
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.schema import ArrayType, PrimitiveType

from core.clock import SystemClock
from core.errors import ConflictError, IntegrityFailureError
from monitor.errors import ColumnTypeChangedError, StoreFullError, TableDamagedError
from monitor.lake import datafile, id_file, scan
from monitor.lake.datafile import PARTITION
from monitor.lake.id_file import Key
from monitor.lake.id_index import TableIds
from monitor.lake.identity import IDENTITIES, Identity, Ids
from monitor.lake.log import DeltaLog, milliseconds
from monitor.lake.snapshot import EMPTY, NEXT_SEQ, DataFile, Snapshot

CHECKPOINT_EVERY: Final = 100  # commits
PROTOCOL: Final = (1, 2)  # reader and writer version of the tables we make: plain appends, no table features
# deltalake neither cleans the log by itself (versions are noted first) nor keeps removed files in every checkpoint.
CONFIGURATION: Final = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
}
WRITING: Final = timedelta(hours=1)  # a file that no entry names and that is younger may be about to be committed
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileReplacedError(ConflictError):
    code = "file_replaced"


class VersionGoneError(ConflictError):
    code = "version_gone"


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Turn a full disk into the error that says so."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        text = str(error).lower()
        if (
            getattr(error, "errno", None) in _FULL
            or "no space left" in text
            or "file too large" in text
            or "quota" in text
        ):
            raise StoreFullError(
                f"the store's disk is full ({folder}): nothing of this was stored; free space and send it again",
                retry_after_s=30,
            ) from error
        raise


class Table:
    """A Delta table partitioned by `date`, rows numbered by `seq`. Commits are serialised by the caller."""

    def __init__(self, folder: Path, identity: Identity = IDENTITIES["events"], key: Key | None = None) -> None:
        """
        Args:
            folder: {lake}/{model}/{kind}.
            identity: what tells rows apart.
            key: the lake's, how that becomes digests; by default it is looked up in the lake.
        """
        self.folder, self.identity, self.key = folder, identity, key
        self._log = DeltaLog(folder)
        self._guard = threading.RLock()  # of what is known of the table; never held while files are written
        self._writing = threading.Lock()
        self._table: DeltaTable | None = None
        self._latest = EMPTY
        self._applications: set[str] = {NEXT_SEQ}
        self.ids = TableIds(self)

    # Versions

    def watch(self, applications: Collection[str]) -> None:
        """Have snapshots tell how far these applications have written; asking later costs one more look at the log."""
        with self._guard:
            if not self._applications.issuperset(applications):
                self._applications.update(applications)
                if self._latest.version >= 0:
                    self._table = self._open()
                    self._latest = self._read(self._table)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The table as of `version`, by default the newest commit of any process.

        Of a version that the log no longer has, the files are the newest ones and `end` is where it ended.

        Raises:
            VersionGoneError: there is no such version.
        """
        with self._guard:
            latest = self._newest()
        if version is None or version == latest.version:
            return latest
        if version < 0:
            return EMPTY
        if (end := self._log.end_of(version)) is not None:
            return latest.before(end)
        try:
            return self._read(DeltaTable(self.folder, version=version))
        except DeltaError as error:
            if (end := self._log.end_of(version)) is not None:  # cleaned in this very moment
                return latest.before(end)
            raise VersionGoneError(
                f"{self.folder} has no version {version}; its newest is {latest.version}", version=version
            ) from error

    def _newest(self) -> Snapshot:
        at = self._latest.version
        if not self._log.has(at + 1) and (self._log.has(at) if at >= 0 else self._log.is_empty()):
            return self._latest
        try:
            if self._table is None:
                raise DeltaError
            self._table.update_incremental()
        except DeltaError:  # not open yet, or what lies between was cleaned
            self._table = self._open()
        self._latest = self._read(self._table)
        return self._latest

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(self.folder)
        except DeltaError as error:
            raise TableDamagedError(
                f"the Delta log of {self.folder} cannot be read: {str(error).splitlines()[0][:300]}; nothing is stored "
                "in it until its damaged entry is restored from a backup or, if it was never whole, removed",
                retry_after_s=60,
            ) from error

    def _read(self, table: DeltaTable) -> Snapshot:
        protocol = table.protocol()
        if (protocol.min_reader_version, protocol.min_writer_version) > PROTOCOL:
            raise IntegrityFailureError(
                f"{self.folder} was upgraded by another program to Delta protocol {protocol.min_reader_version}/"
                f"{protocol.min_writer_version}; this release writes {PROTOCOL[0]}/{PROTOCOL[1]}. Use a copy of it",
                folder=str(self.folder),
            )
        # to_json gives {"type": "struct", "fields": [{"name", "type", ...}]}
        fields = json.loads(table.schema().to_json())["fields"]
        adds = pl.DataFrame(table.get_add_actions(flatten=True))
        files = tuple(datafile.read(row) for row in adds.iter_rows(named=True))
        reached = {a: at for a in self._applications if (at := table.transaction_version(a)) is not None}
        return Snapshot(table.version(), files, {f["name"]: _type_name(f["type"]) for f in fields}, reached)

    # Writing

    def append(
        self, frame: pl.DataFrame, columns: Mapping[str, str], *, txn: tuple[str, int] | None = None
    ) -> Snapshot:
        """Add rows in one commit that is on disk when this returns, or not at all.

        Args:
            frame: the rows, with every column of `columns` and the partition column.
            columns: name -> Delta type; a name the table does not have yet is added to its schema.
            txn: application id and version, Delta's mark of how far that application has written.

        Raises:
            StoreFullError: no room; nothing is visible.
            ColumnTypeChangedError: a column is stored with another type.
        """
        with self._writing, _disk(self.folder):
            before = self.snapshot()
            merged = _merged(before, columns)
            actions: list[dict[str, Any]] = []
            if before.version < 0:
                self._log.folder.mkdir(parents=True, exist_ok=True)
                actions.append({"protocol": {"minReaderVersion": PROTOCOL[0], "minWriterVersion": PROTOCOL[1]}})
            if merged != before.columns:
                actions.append({"metaData": self._metadata(merged)})
            written = self._write([frame], merged)
            try:
                actions += [datafile.add(file) for file in written]
                after = replace(before, files=before.files + tuple(written), columns=merged)
                return self._commit("WRITE", actions, after, {} if txn is None else {txn[0]: txn[1]})
            except BaseException:
                self.discard(written)
                raise

    def write(self, parts: Iterable[pl.DataFrame]) -> list[DataFile]:
        """Write rows into files that no version has yet, for `swap`. Any number of these run beside other commits.

        Args:
            parts: rows that the table has, with `seq` and the partition column; held one part at a time.
        """
        with _disk(self.folder):
            return self._write(parts, self.snapshot().columns)

    def swap(
        self, removed: Collection[DataFile], added: Sequence[DataFile], *, operation: str, changes: bool
    ) -> Snapshot:
        """Exchange files in one commit that is on disk when this returns, or not at all.

        Args:
            removed: files of the newest version.
            added: files from `write`, made from what `removed` held.
            operation: what the log calls it, such as OPTIMIZE or DELETE.
            changes: rows went; False where the same rows only lie in other files.

        Raises:
            FileReplacedError: another commit removed one of `removed`, or one of `added` is gone.
        """
        gone = {f.path for f in removed}
        with self._writing, _disk(self.folder):
            before = self.snapshot()
            if missing := sorted(gone - {f.path for f in before.files}):
                raise FileReplacedError(
                    f"{missing[0]} is no longer part of {self.folder}: another commit replaced it; read again",
                    file=missing[0],
                )
            try:
                for file in (*removed, *added):  # the time of a file that is removed tells `vacuum` since when
                    datafile.touch(self._log, file)
            except FileNotFoundError as error:
                raise FileReplacedError(f"a file of {self.folder} is gone: {error.filename}; start again") from error
            actions = [datafile.remove(f, changes=changes) for f in removed]
            actions += [datafile.add(f, changes=changes) for f in added]
            kept = tuple(f for f in before.files if f.path not in gone)
            txns = {NEXT_SEQ: before.next_seq} if changes else {}
            return self._commit(operation, actions, replace(before, files=kept + tuple(added)), txns)

    def replace(
        self, removed: Collection[DataFile], parts: Iterable[pl.DataFrame], *, operation: str, changes: bool
    ) -> Snapshot:
        """`write` and `swap` in one; on failure nothing of it is left. Raises what they raise."""
        added = self.write(parts)
        try:
            return self.swap(removed, added, operation=operation, changes=changes)
        except BaseException:
            self.discard(added)
            raise

    def discard(self, files: Sequence[DataFile]) -> None:
        """Remove files from `write` that will not be committed."""
        for file in files:
            (self.folder / file.path).unlink(missing_ok=True)
            self.ids.discard(file.path)

    def _write(self, frames: Iterable[pl.DataFrame], columns: Mapping[str, str]) -> list[DataFile]:
        written: list[DataFile] = []
        try:
            for frame in frames:
                for day, part in _by_day(frame):
                    present = set(part.columns) - {PARTITION}
                    if unknown := present - columns.keys():
                        raise ValueError(f"columns {sorted(unknown)} are not declared")
                    # Column by column: for a few rows planning a query takes longer.
                    stored = pl.DataFrame([part.get_column(n) for n in columns if n in present])
                    file = datafile.write(self._log, stored, day)
                    written.append(file)
                    if self.identity.key in part.columns:  # now, so that no append waits for it
                        self.ids.write(file.path, self.identity.of(part))
        except BaseException:
            self.discard(written)
            raise
        return written

    def _commit(
        self, operation: str, actions: Sequence[Mapping[str, Any]], after: Snapshot, txns: Mapping[str, int]
    ) -> Snapshot:
        """Publish `actions`, which lead from the newest version to `after`."""
        now = milliseconds(SystemClock().now())
        head = [{"commitInfo": {"timestamp": now, "operation": operation, "engineInfo": "assay"}}]
        marks = [{"txn": {"appId": name, "version": at, "lastUpdated": now}} for name, at in txns.items()]
        self._log.commit(after.version + 1, [*head, *actions, *marks])
        committed = replace(after, version=after.version + 1, txns={**after.txns, **txns})
        with self._guard:
            self._applications.update(txns)
            self._latest = committed
        if committed.version % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            self._log.checkpoint()
        return committed

    def _metadata(self, columns: Mapping[str, str]) -> dict[str, Any]:
        schema = Schema([Field(name, _type(kind)) for name, kind in columns.items()])
        known = DeltaTable(self.folder).metadata() if self.snapshot().version >= 0 else None
        return {
            "id": str(known.id) if known else str(uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_json(),
            "partitionColumns": [PARTITION],
            "configuration": dict(known.configuration) if known else dict(CONFIGURATION),
            "createdTime": known.created_time if known else milliseconds(SystemClock().now()),
        }

    # Cleaning

    def vacuum(self, *, keep: timedelta, now: datetime) -> list[str]:
        """Delete the files that the table no longer has and that no version newer than `keep` names.

        Also what a killed writer left behind, once it is older than an hour. With `keep` zero, removed files go at
        once; versions that named them are then read from the newest files.

        Returns:
            Paths of what was deleted.
        """
        if self.snapshot().version < 0:
            return []
        removed = self._log.removed_since(now - WRITING) if keep < WRITING else set()
        present = {f.path for f in self.snapshot().files}  # after the look at the log: nothing removed is added again
        edge, deleted = now - keep, list[str]()
        for path in sorted(self.folder.glob(f"{PARTITION}=*/*.parquet")):
            name = path.relative_to(self.folder).as_posix()
            if name in present:
                continue
            try:
                since = datetime.fromtimestamp(path.stat().st_mtime, now.tzinfo)
            except FileNotFoundError:  # another process is at it too
                continue
            if since <= min(edge, now - WRITING) or (name in removed and (since <= edge or not keep)):
                path.unlink(missing_ok=True)
                deleted.append(name)
        datafile.fsync_folders(self.folder, deleted)
        id_file.clean(self.folder)
        return deleted

    def clean_log(self, *, keep: timedelta, now: datetime) -> list[str]:
        """Sum up the log, and remove the entries older than `keep` that a summary covers; returns their names."""
        if self.snapshot().version < 0 or not self._log.checkpoint():
            return []
        return self._log.clean(keep=keep, now=now)

    # Reading

    def scan(
        self,
        *,
        version: int | None = None,
        from_seq: int | None = None,
        to_seq: int | None = None,
        from_ts: datetime | None = None,
        to_ts: datetime | None = None,
    ) -> pl.LazyFrame:
        """The rows, lazily, from the files that can hold them; columns a file lacks are null."""
        return self.scan_at(self.snapshot(version), from_seq=from_seq, to_seq=to_seq, from_ts=from_ts, to_ts=to_ts)

    def scan_at(
        self,
        snapshot: Snapshot,
        *,
        from_seq: int | None = None,
        to_seq: int | None = None,
        from_ts: datetime | None = None,
        to_ts: datetime | None = None,
        keys: pl.Series | None = None,
    ) -> pl.LazyFrame:
        """`scan` of a version that is at hand; with `keys`, the rows of those alone, from the files that have any."""
        if not snapshot.columns:  # the table does not exist yet
            return pl.LazyFrame(schema={})

        def rows(at: Snapshot) -> pl.LazyFrame:
            files = at.between(from_seq, to_seq, from_ts=from_ts, to_ts=to_ts)
            if keys is not None:
                lacking = self.ids.lacking(keys)
                files = tuple(f for f in files if f.path not in lacking)
            bounds = [
                None if keys is None else pl.col(self.identity.key).is_in(keys.implode()),
                None if from_seq is None else pl.col("seq") >= from_seq,
                None if to_seq is None else pl.col("seq") < to_seq,
                None if from_ts is None else pl.col("ts") >= from_ts,
                None if to_ts is None else pl.col("ts") < to_ts,
            ]
            return self.scan_files(at, files).filter(*(b for b in bounds if b is not None))

        return scan.reread(snapshot, rows, self.snapshot)

    def scan_files(self, snapshot: Snapshot, files: Sequence[DataFile]) -> pl.LazyFrame:
        """All rows of some files of a version; reading raises FileNotFoundError where one was deleted meanwhile."""
        return scan.rows(self.folder, snapshot, files)

    def ids_of(self, paths: Sequence[str]) -> tuple[Ids, pl.Series]:
        """Ids and path of the rows of some files, in their order; FileNotFoundError where one is gone."""
        return scan.ids(self.folder, self.snapshot(), paths, self.identity)

    def find(self, key: str) -> list[dict[str, Any]]:
        """The rows of a key, in no order and without the partition column. Of a large file one row group is read."""
        mine = pl.col(self.identity.key) == key
        for again in range(scan.REREADS, -1, -1):
            if self.snapshot().version < 0:
                return []
            try:
                snapshot, located = self.ids.locate(key)
                rows = [
                    self.scan_files(snapshot, [file])
                    if row is None
                    else self.scan_files(snapshot, [file]).slice(row, 1)
                    for file, row in located
                ]
                return [found for some in rows for found in some.filter(mine).collect().to_dicts()]
            except FileNotFoundError:
                if not again:
                    raise
        raise AssertionError


def _type_name(declared: str | Mapping[str, Any]) -> str:
    """A type of Delta's schema as one word: lists are named by what they hold."""
    if isinstance(declared, str):
        return declared
    return f"array<{declared['elementType']}>" if declared["type"] == "array" else str(declared["type"])


def _type(name: str) -> PrimitiveType | ArrayType:
    if name.startswith("array<"):
        return ArrayType(PrimitiveType(name.removeprefix("array<").removesuffix(">")), contains_null=False)
    return PrimitiveType(name)


def _merged(before: Snapshot, columns: Mapping[str, str]) -> dict[str, str]:
    for name, kind in columns.items():
        if before.columns.get(name, kind) != kind:
            raise ColumnTypeChangedError(
                f"column {name} is stored as {before.columns[name]} and is now declared as {kind}; "
                "give the changed column a new name",
                field=name,
            )
    return {**before.columns, **columns}


def _by_day(frame: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame]]:
    days = frame[PARTITION]
    if frame.height and (day := days.min()) == days.max() and not days.has_nulls():  # mostly; nothing is copied
        yield day, frame  # type: ignore[misc]  # a date
        return
    for (day,), part in frame.partition_by(PARTITION, as_dict=True, include_key=False).items():
        yield day, part

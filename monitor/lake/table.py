"""One Delta table on a local disk, written durably: committed rows survive a power loss.

`deltalake` reads the log and writes its checkpoints. The commit itself is written here, because deltalake makes no
fsync call and publishes a commit before the data it names is safe: a power loss or a full disk could leave a log entry
that names a torn file. Here the order is data file, fsync, log entry under a temporary name, fsync, link into place,
fsync of the folders; nothing can fail after the rows become visible. It also takes a tenth of the CPU time.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from core.clock import SystemClock
from core.errors import IntegrityFailureError
from monitor.errors import TableDamagedError
from monitor.lake import datafile, id_file, scan, schema
from monitor.lake.datafile import PARTITION
from monitor.lake.errors import FileReplacedError, VersionGoneError, reporting_full_disk
from monitor.lake.id_file import DigestKey
from monitor.lake.identity import IDENTITIES, RowIdentity, RowIds
from monitor.lake.log import DeltaLog, milliseconds
from monitor.lake.snapshot import EMPTY, NEXT_SEQ, DataFile, Snapshot
from monitor.lake.table_ids import TableIds

CHECKPOINT_EVERY: Final = 100  # commits
PROTOCOL: Final = (1, 2)  # reader and writer version of the tables we make: plain appends, no table features
UNCOMMITTED_GRACE: Final = timedelta(hours=1)  # a younger file that no entry names may be about to be committed


class LakeTable:
    """A Delta table partitioned by `date`, rows numbered by `seq`. Commits are serialised by the caller."""

    def __init__(
        self, folder: Path, identity: RowIdentity = IDENTITIES["events"], key: DigestKey | None = None
    ) -> None:
        """
        Args:
            folder: {lake}/{model}/{kind}.
            identity: what identifies a row.
            key: turns identities into digests; the default is the key stored in the lake.
        """
        self.folder, self.identity, self.key = folder, identity, key
        self._log = DeltaLog(folder)
        self._guard = threading.RLock()  # of the fields below; never held while files are written
        self._writing = threading.Lock()
        self._table: DeltaTable | None = None
        self._latest = EMPTY
        self._applications: set[str] = {NEXT_SEQ}
        self.ids = TableIds(self)

    # Versions

    def watch(self, applications: Collection[str]) -> None:
        """Include in snapshots how far these applications have written; a new application costs one read of the log."""
        with self._guard:
            if not self._applications.issuperset(applications):
                self._applications.update(applications)
                if self._latest.version >= 0:
                    self._table = self._open()
                    self._latest = self._read(self._table)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The table as of `version`, by default the newest commit of any process.

        A version that the log no longer has is returned with the newest files, and with `end` set to where it ended.

        Raises:
            VersionGoneError: no such version exists.
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
            if (end := self._log.end_of(version)) is not None:  # cleaned at this very moment
                return latest.before(end)
            raise VersionGoneError(
                f"{self.folder} has no version {version}; its newest is {latest.version}", version=version
            ) from error

    def _newest(self) -> Snapshot:
        at = self._latest.version
        if not self._log.has_version(at + 1) and (self._log.has_version(at) if at >= 0 else self._log.is_empty()):
            return self._latest
        try:
            if self._table is None:
                raise DeltaError
            self._table.update_incremental()
        except DeltaError:  # not open yet, or the entries in between were cleaned
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
        columns = schema.column_types(json.loads(table.schema().to_json())["fields"])
        adds = pl.DataFrame(table.get_add_actions(flatten=True))
        files = tuple(datafile.read(row) for row in adds.iter_rows(named=True))
        reached = {a: at for a in self._applications if (at := table.transaction_version(a)) is not None}
        return Snapshot(table.version(), files, columns, reached)

    # Writing

    def append(
        self, frame: pl.DataFrame, columns: Mapping[str, str], *, txn: tuple[str, int] | None = None
    ) -> Snapshot:
        """Add rows in one commit that is durable when this returns, or not made at all.

        Args:
            frame: the rows, with every column of `columns` and the partition column.
            columns: name -> Delta type; a new name is added to the table's schema.
            txn: application id and version: how far that application has written (Delta's transaction id).

        Raises:
            StoreFullError: the disk is full; nothing is visible.
            ColumnTypeChangedError: a column is stored with another type.
        """
        with self._writing, reporting_full_disk(self.folder):
            before = self.snapshot()
            merged = schema.with_columns(before.columns, columns)
            actions: list[dict[str, Any]] = []
            if before.version < 0:
                self._log.folder.mkdir(parents=True, exist_ok=True)
                actions.append({"protocol": {"minReaderVersion": PROTOCOL[0], "minWriterVersion": PROTOCOL[1]}})
            if merged != before.columns:
                known = DeltaTable(self.folder) if before.version >= 0 else None
                actions.append({"metaData": schema.metadata(merged, known)})
            written = self._write([frame], merged)
            try:
                actions += [datafile.add(file) for file in written]
                after = replace(before, files=before.files + tuple(written), columns=merged)
                return self._commit("WRITE", actions, after, {} if txn is None else {txn[0]: txn[1]})
            except BaseException:
                self.discard(written)
                raise

    def write(self, parts: Iterable[pl.DataFrame]) -> list[DataFile]:
        """Write rows into files that no version names yet, for `swap`. It can run at the same time as other commits.

        Args:
            parts: rows of the table, with `seq` and the partition column; one part at a time is held in memory.
        """
        with reporting_full_disk(self.folder):
            return self._write(parts, self.snapshot().columns)

    def swap(
        self, removed: Collection[DataFile], added: Sequence[DataFile], *, operation: str, changes: bool
    ) -> Snapshot:
        """Replace files in one commit that is durable when this returns, or not made at all.

        Args:
            removed: files of the newest version.
            added: files from `write`, made from the rows of `removed`.
            operation: its name in the log, such as OPTIMIZE or DELETE.
            changes: whether rows were removed; False if the same rows only moved to other files.

        Raises:
            FileReplacedError: another commit removed one of `removed`, or one of `added` no longer exists.
        """
        replaced = {f.path for f in removed}
        with self._writing, reporting_full_disk(self.folder):
            before = self.snapshot()
            if missing := sorted(replaced - {f.path for f in before.files}):
                raise FileReplacedError(
                    f"{missing[0]} is no longer part of {self.folder}: another commit replaced it; read again",
                    file=missing[0],
                )
            try:
                for file in (*removed, *added):  # `vacuum` takes the file's time as the time of its removal
                    datafile.touch(self._log, file)
            except FileNotFoundError as error:
                raise FileReplacedError(f"a file of {self.folder} is gone: {error.filename}; start again") from error
            actions = [datafile.remove(f, changes=changes) for f in removed]
            actions += [datafile.add(f, changes=changes) for f in added]
            kept = tuple(f for f in before.files if f.path not in replaced)
            txns = {NEXT_SEQ: before.next_seq} if changes else {}
            return self._commit(operation, actions, replace(before, files=kept + tuple(added)), txns)

    def discard(self, files: Sequence[DataFile]) -> None:
        """Delete files from `write` that will not be committed."""
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
                    # Column by column: planning a query would take longer for a few rows.
                    stored = pl.DataFrame([part.get_column(n) for n in columns if n in present])
                    file = datafile.write(self._log, stored, day)
                    written.append(file)
                    if self.identity.key in part.columns:  # now, so that no append has to wait for it
                        self.ids.write(file.path, self.identity.of(part))
        except BaseException:
            self.discard(written)
            raise
        return written

    def _commit(
        self, operation: str, actions: Sequence[Mapping[str, Any]], after: Snapshot, txns: Mapping[str, int]
    ) -> Snapshot:
        """Publish the actions that turn the newest version into `after`."""
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

    # Cleaning

    def vacuum(self, *, keep: timedelta, now: datetime, spares: Callable[[str], bool] = lambda _: False) -> list[str]:
        """Delete the files that the table no longer has and that no version newer than `keep` names.

        Files that a killed writer left behind are deleted too, once they are older than an hour. If `keep` is zero,
        removed files are deleted at once; versions that named them are then read from the newest files.

        Args:
            spares: whether the file at a path must stay.

        Returns:
            Paths of the deleted files.
        """
        if self.snapshot().version < 0:
            return []
        removed = self._log.removed_since(now - UNCOMMITTED_GRACE) if keep < UNCOMMITTED_GRACE else set()
        present = {f.path for f in self.snapshot().files}  # after `removed`: a removed file is never added again
        edge, deleted = now - keep, list[str]()
        for path in sorted(self.folder.glob(f"{PARTITION}=*/*.parquet")):
            name = path.relative_to(self.folder).as_posix()
            if name in present or spares(name):
                continue
            try:
                since = datetime.fromtimestamp(path.stat().st_mtime, now.tzinfo)
            except FileNotFoundError:  # another process deleted it
                continue
            if since <= min(edge, now - UNCOMMITTED_GRACE) or (name in removed and (since <= edge or not keep)):
                path.unlink(missing_ok=True)
                deleted.append(name)
        datafile.fsync_folders(self.folder, deleted)
        id_file.remove_orphaned_indexes(self.folder)
        return deleted

    def clean_log(self, *, keep: timedelta, now: datetime) -> list[str]:
        """Write a checkpoint and remove the log entries older than `keep` that one covers; returns their names."""
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
        """The rows, lazily, from the files that can hold them; columns that a file lacks are null."""
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
        """`scan` of a given version; `keys` restricts it to rows with those keys, and to the files that hold any."""
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

        return scan.reread(self.folder, snapshot, rows, self.snapshot)

    def scan_files(self, snapshot: Snapshot, files: Sequence[DataFile]) -> pl.LazyFrame:
        """All rows of some files of a version; reading raises FileNotFoundError if one was deleted meanwhile."""
        return scan.rows(self.folder, snapshot, files)

    def ids_of(self, paths: Sequence[str]) -> tuple[RowIds, pl.Series]:
        """Identity and file path of each row of some files, in order; FileNotFoundError if one was deleted."""
        return scan.row_ids(self.folder, self.snapshot(), paths, self.identity)

    def find(self, key: str) -> list[dict[str, Any]]:
        """The rows with a key, in no order and without the partition column; of a large file one row group is read."""
        matches = pl.col(self.identity.key) == key
        for again in range(scan.MAX_REREADS, -1, -1):
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
                return [found for some in rows for found in some.filter(matches).collect().to_dicts()]
            except FileNotFoundError:
                if not again:
                    raise
        raise AssertionError


def _by_day(frame: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame]]:
    days = frame[PARTITION]
    if frame.height and (day := days.min()) == days.max() and not days.has_nulls():  # mostly; nothing is copied
        yield day, frame  # type: ignore[misc]  # a date
        return
    for (day,), part in frame.partition_by(PARTITION, as_dict=True, include_key=False).items():
        yield day, part

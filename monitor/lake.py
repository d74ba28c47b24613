"""One Delta table on a local disk, appended to durably: what is committed survives a power loss.

`deltalake` reads the log and writes its checkpoints. The append itself is written here, because deltalake makes no
fsync call and publishes a commit before the data it names is safe: a power loss, or a disk that fills up, could leave
a log entry pointing at a torn file. Here the order is data file, fsync, log entry under a temporary name, fsync, link
into place, fsync of the folders; nothing can fail after the rows become visible. It also costs a tenth of the CPU.
"""

import errno
import json
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import uuid4

import polars as pl
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

from core.artifacts import fsync_folder
from core.clock import SystemClock
from core.errors import BusyError, IntegrityFailureError
from core.logs import logger
from monitor.errors import ColumnTypeChangedError, StoreFullError

DTYPES: Final[Mapping[str, Any]] = {
    "string": pl.String,
    "double": pl.Float64,
    "boolean": pl.Boolean,
    "long": pl.Int64,
    "timestamp": pl.Datetime("us", "UTC"),
    "date": pl.Date,
}
DELTA_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
STATISTICS: Final = ("seq", "ts", "received_at")  # columns whose extremes go into the log
CHECKPOINT_EVERY = 100  # commits
PROTOCOL: Final = (1, 2)  # reader and writer version of the tables we make: plain appends, no table features
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table, with the extremes of the columns in `STATISTICS`."""

    path: str
    rows: int
    low: Mapping[str, Any]
    high: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The table at one version; version -1 is a table that does not exist yet."""

    version: int
    files: tuple[DataFile, ...]
    columns: Mapping[str, str]  # name -> Delta type, partition column included
    txns: Mapping[str, int] = field(default_factory=dict)  # watched application -> its newest transaction

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    def lowest(self, column: str) -> Any:
        return min((v for f in self.files if (v := f.low.get(column)) is not None), default=None)

    def highest(self, column: str) -> Any:
        return max((v for f in self.files if (v := f.high.get(column)) is not None), default=None)

    def between(
        self,
        from_seq: int | None = None,
        to_seq: int | None = None,
        *,
        from_ts: datetime | None = None,
        to_ts: datetime | None = None,
    ) -> tuple[DataFile, ...]:
        """Files that may hold rows with from_seq <= seq < to_seq and from_ts <= ts < to_ts."""
        return tuple(
            f for f in self.files if _may_hold(f, "seq", from_seq, to_seq) and _may_hold(f, "ts", from_ts, to_ts)
        )


def _may_hold(file: DataFile, column: str, first: Any, end: Any) -> bool:
    low, high = file.low.get(column), file.high.get(column)
    return (end is None or low is None or low < end) and (first is None or high is None or high >= first)


EMPTY: Final = Snapshot(-1, (), {})


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


def _fsync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _json_value(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value


class Table:
    """A Delta table partitioned by `date`, rows numbered by `seq`. Appends are serialised by the caller."""

    partition: ClassVar[str] = "date"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "_delta_log"
        self._guard = threading.RLock()
        self._table: DeltaTable | None = None
        self._latest = EMPTY
        self._named: set[Path] = set()  # folders whose own entry this process has made durable
        self._applications: set[str] = set()

    def watch(self, applications: Collection[str]) -> None:
        """Have snapshots tell how far these applications have written; asking later costs one more look at the log."""
        with self._guard:
            if not self._applications.issuperset(applications):
                self._applications.update(applications)
                if self._latest.version >= 0:
                    self._table = DeltaTable(self.folder)
                    self._latest = self._read(self._table)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The table as of `version`, by default the newest commit of any process."""
        if version is not None and version != self._latest.version:
            return EMPTY if version < 0 else self._read(DeltaTable(self.folder, version=version))
        with self._guard:
            if version is None and (self._log / f"{self._latest.version + 1:020}.json").exists():
                if self._table is None:
                    self._table = DeltaTable(self.folder)
                else:
                    self._table.update_incremental()
                self._latest = self._read(self._table)
            return self._latest

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
        files = tuple(
            DataFile(
                row["path"],
                row["num_records"],
                {c: row.get(f"min.{c}") for c in STATISTICS},
                {c: row.get(f"max.{c}") for c in STATISTICS},
            )
            for row in adds.iter_rows(named=True)
        )
        reached = {a: at for a in self._applications if (at := table.transaction_version(a)) is not None}
        return Snapshot(table.version(), files, {f["name"]: f["type"] for f in fields}, reached)

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
        with self._guard, _disk(self.folder):
            before = self.snapshot()
            merged = self._merge(before, columns)
            actions: list[dict[str, Any]] = [
                {"commitInfo": {"timestamp": _ms(), "operation": "WRITE", "engineInfo": "assay"}}
            ]
            if before.version < 0:
                self._log.mkdir(parents=True, exist_ok=True)
                actions.append({"protocol": {"minReaderVersion": PROTOCOL[0], "minWriterVersion": PROTOCOL[1]}})
            if merged != before.columns:
                actions.append({"metaData": self._metadata(merged)})
            if txn is not None:
                self._applications.add(txn[0])
                actions.append({"txn": {"appId": txn[0], "version": txn[1], "lastUpdated": _ms()}})
            written: list[DataFile] = []
            try:
                for day, part in self._parts(frame):
                    action, file = self._write(part.select(n for n in merged if n in part.columns), day)
                    written.append(file)
                    actions.append(action)
                self._commit(before.version + 1, actions)
            except BaseException:
                for file in written:
                    (self.folder / file.path).unlink(missing_ok=True)
                raise
            reached = before.txns if txn is None else {**before.txns, txn[0]: txn[1]}
            self._latest = Snapshot(before.version + 1, before.files + tuple(written), merged, reached)
        if self._latest.version % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            self._checkpoint()
        return self._latest

    def _parts(self, frame: pl.DataFrame) -> Iterator[tuple[object, pl.DataFrame]]:
        days = frame[self.partition].unique().to_list()
        if len(days) == 1:  # most requests; nothing needs to be copied
            yield days[0], frame.drop(self.partition)
            return
        for (day,), part in frame.partition_by(self.partition, as_dict=True, include_key=False).items():
            yield day, part

    def _merge(self, before: Snapshot, columns: Mapping[str, str]) -> dict[str, str]:
        for name, kind in columns.items():
            if before.columns.get(name, kind) != kind:
                raise ColumnTypeChangedError(
                    f"column {name} is stored as {before.columns[name]} and is now declared as {kind}; "
                    "give the changed column a new name",
                    field=name,
                )
        return {**before.columns, **columns}

    def _metadata(self, columns: Mapping[str, str]) -> dict[str, Any]:
        schema = Schema([Field(name, PrimitiveType(kind)) for name, kind in columns.items()])
        exists = self._latest.version >= 0
        known = DeltaTable(self.folder).metadata() if exists else None
        return {
            "id": str(known.id) if known else str(uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_json(),
            "partitionColumns": [self.partition],
            "configuration": dict(known.configuration) if known else {},
            "createdTime": known.created_time if known else _ms(),
        }

    def _write(self, part: pl.DataFrame, day: object) -> tuple[dict[str, Any], DataFile]:
        value = day.isoformat() if isinstance(day, date) else str(day)
        relative = f"{self.partition}={value}/part-{uuid4()}.parquet"
        path = self.folder / relative
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._named.discard(path.parent)
        try:
            part.write_parquet(path, compression="zstd")
            _fsync_file(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
        self._name(path.parent)
        low: dict[str, Any] = {c: part[c].min() for c in STATISTICS if c in part.columns}
        high: dict[str, Any] = {c: part[c].max() for c in STATISTICS if c in part.columns}
        statistics = {
            "numRecords": part.height,
            "minValues": {c: _json_value(v) for c, v in low.items()},
            "maxValues": {c: _json_value(v) for c, v in high.items()},
            "nullCount": {},
        }
        action = {
            "path": relative,
            "partitionValues": {self.partition: value},
            "size": path.stat().st_size,
            "modificationTime": _ms(),
            "dataChange": True,
            "stats": json.dumps(statistics),
        }
        return {"add": action}, DataFile(relative, part.height, low, high)

    def _commit(self, version: int, actions: Sequence[Mapping[str, Any]]) -> None:
        entry = self._log / f"{version:020}.json"
        draft = self._log / f"_commit_{uuid4()}.json.tmp"
        try:
            with draft.open("w") as file:
                file.writelines(json.dumps(a, separators=(",", ":")) + "\n" for a in actions)
                file.flush()
                os.fsync(file.fileno())
            # A link fails where a rename would overwrite: no two writers can make the same version.
            os.link(draft, entry)
        except FileExistsError as error:
            raise BusyError(
                f"another program wrote version {version} of {self.folder} meanwhile; send the request again"
            ) from error
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
        fsync_folder(self._log)
        for folder in (self._log, self.folder, self.folder.parent):
            self._name(folder)

    def _name(self, folder: Path) -> None:
        """Make a folder's entry in its parent durable: once a process, for another may have made it and died."""
        if folder not in self._named:
            fsync_folder(folder.parent)
            self._named.add(folder)

    def _checkpoint(self) -> None:
        """Sum up the log so that opening the table stays quick. The log alone is enough, so a failure is only noted."""
        try:
            DeltaTable(self.folder).create_checkpoint()
            for path in self._log.glob(f"{self._latest.version:020}.checkpoint*"):
                _fsync_file(path)
            fsync_folder(self._log)
        except (OSError, DeltaError) as error:
            logger(__name__).warning("delta checkpoint not written", folder=str(self.folder), error=str(error))

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
        snapshot = self.snapshot(version)
        files = snapshot.between(from_seq, to_seq, from_ts=from_ts, to_ts=to_ts)
        rows = self.scan_files(snapshot, files, from_seq=from_seq, to_seq=to_seq)
        if not snapshot.columns:  # the table does not exist yet
            return rows
        if from_ts is not None:
            rows = rows.filter(pl.col("ts") >= from_ts)
        return rows if to_ts is None else rows.filter(pl.col("ts") < to_ts)

    def scan_files(
        self, snapshot: Snapshot, files: Sequence[DataFile], *, from_seq: int | None = None, to_seq: int | None = None
    ) -> pl.LazyFrame:
        schema = {n: DTYPES[k] for n, k in snapshot.columns.items() if n != self.partition and k in DTYPES}
        if not files:
            return pl.LazyFrame(schema=schema)
        rows = pl.scan_parquet(
            [self.folder / f.path for f in files],
            schema=schema, missing_columns="insert", extra_columns="ignore", hive_partitioning=False, glob=False,
        )  # fmt: skip
        if from_seq is not None:
            rows = rows.filter(pl.col("seq") >= from_seq)
        if to_seq is not None:
            rows = rows.filter(pl.col("seq") < to_seq)
        return rows


def _ms() -> int:
    return int(SystemClock().now().timestamp() * 1000)

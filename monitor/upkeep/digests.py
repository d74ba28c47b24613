"""Record in the ledger, file by file, what each commit of a Delta table added and removed.

New entries of the Delta logs are read every hour and around every rewrite. `governance.verify.lake` defines the ledger
entries and checks a lake against them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.artifacts import file_digest
from core.canonical import sha256
from core.db import insert_if_new
from core.errors import IntegrityFailureError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import LedgerEntry
from governance.verify import lake
from governance.verify.lake import LOG, Commit, Leaf, LeafList
from monitor import store
from monitor.events.amend import AMEND
from monitor.lake_tables import LakeFile, LakeRecord
from monitor.site import Site

ERASE: Final = "ERASE"  # operation of an erasing commit, followed by the id of the erasure
CAUSES: Final = {"OPTIMIZE": "compaction", "DELETE": "retention", AMEND: "amendment", ERASE: "erasure"}
_CHECKPOINT: Final = re.compile(r"\d{20}\.checkpoint.*\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True)
class _CommitRun:
    """Consecutive commits that become one ledger entry."""

    versions: tuple[int, int]
    operation: str | None  # of commits that removed files, else None
    listed: LeafList


@dataclass(frozen=True, slots=True)
class _Recorded:
    """How far a table had been recorded when its log was read."""

    version: int
    checkpoints: tuple[str, ...]
    files: dict[str, tuple[str | None, int]]  # path -> SHA-256, rows


def record_all(site: Site) -> None:
    """Bring the record of the tables of every model up to date.

    Raises:
        IntegrityFailureError: a Delta log has a gap or is damaged; the tables of all other models are recorded.
    """
    with site.database.read() as db:
        names = [model.name for model in store.models(db)]
    failed = []
    for name in names:
        try:
            record(site, name)
        except IntegrityFailureError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def record(site: Site, model: str) -> None:
    """Record in the ledger what the new commits of a model's tables added and removed.

    Safe to run twice, also at the same time.

    Raises:
        IntegrityFailureError: a Delta log has a gap or an entry that cannot be read.
    """
    for folder in sorted(p.parent for p in (site.events.root / model).glob(f"*/{LOG}")):
        _record_table(site, model, folder)


def _record_table(site: Site, model: str, folder: Path) -> None:
    table = folder.name
    with site.database.read() as db:
        recorded = _recorded(db, model, table)
    commits = list(_commits(folder, recorded.version + 1))
    checkpoints = sorted(p.name for p in (folder / LOG).iterdir() if _CHECKPOINT.fullmatch(p.name))
    fresh = [name for name in checkpoints if name not in recorded.checkpoints]
    if not commits and not fresh:
        return
    runs = list(_commit_runs(folder, recorded, commits, fresh))
    for run in runs:
        site.artifacts.put(run.listed.to_bytes())
    with site.database.write() as db:
        # Two processes may record a table for the first time at the same moment, such as an erasure and the hourly job.
        insert_if_new(db, LakeRecord, {"model": model, "table": table, "version": -1, "checkpoints": []})
        row = db.get_one(LakeRecord, (model, table), with_for_update=True, populate_existing=True)
        if (row.version, tuple(row.checkpoints)) != (recorded.version, recorded.checkpoints):
            return  # another process has recorded these commits meanwhile
        for run in runs:
            _append(site, db, row, run)
        row.checkpoints = checkpoints


def _recorded(db: Session, model: str, table: str) -> _Recorded:
    row = db.get(LakeRecord, (model, table))
    if row is None:
        return _Recorded(-1, (), {})
    query = select(LakeFile).where(LakeFile.model == model, LakeFile.table == table)
    return _Recorded(row.version, tuple(row.checkpoints), {f.path: (f.sha256, f.rows) for f in db.scalars(query)})


def _commits(folder: Path, first: int) -> Iterator[tuple[int, str, Commit]]:
    """Version, SHA-256 of the log entry and parsed commit, from a version on."""
    versions = sorted(int(p.stem) for p in (folder / LOG).glob(f"{'[0-9]' * 20}.json"))
    for number, version in enumerate(v for v in versions if v >= first):
        if version != first + number:
            raise IntegrityFailureError(
                f"the Delta log of {folder} has no entry {first + number}; restore it from a backup",
                folder=str(folder), version=first + number,
            )  # fmt: skip
        data = (folder / LOG / f"{version:020}.json").read_bytes()
        try:
            yield version, sha256(data), lake.read_commit(data)
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityFailureError(
                f"entry {version} of the Delta log of {folder} cannot be read: {error}", folder=str(folder),
                version=version,
            ) from error  # fmt: skip


def _commit_runs(
    folder: Path, recorded: _Recorded, commits: Sequence[tuple[int, str, Commit]], checkpoints: Sequence[str]
) -> Iterator[_CommitRun]:
    files = dict(recorded.files)
    waiting = {f"{LOG}/{name}": name for name in checkpoints}
    log_files = {name: file_digest(folder / path) for path, name in waiting.items()}
    first = recorded.version + 1
    for operation, group in groupby(commits, key=lambda c: c[2].operation if c[2].removed else None):
        added, removed, log = [], [], log_files
        log_files = {}
        last = first - 1
        for version, digest, commit in group:
            log[f"{version:020}.json"] = digest
            for path in commit.removed:
                removed.append(Leaf(path, *files.pop(path, (None, 0)), version))
            for file in commit.added:
                files[file.path] = (_digest(folder / file.path), file.rows)
                added.append(Leaf(file.path, *files[file.path], version))
            last = version
        yield _CommitRun((first, last), operation, LeafList(tuple(added), tuple(removed), log))
        first = last + 1
    if log_files:  # only a checkpoint is new
        yield _CommitRun((first, first - 1), None, LeafList((), (), log_files))


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except FileNotFoundError:  # removed by a later commit and deleted
        return None


def _append(site: Site, db: Session, row: LakeRecord, run: _CommitRun) -> None:
    body: dict[str, Any] = lake.body(row.model, row.table, run.versions, run.listed, row.previous)
    kind = lake.DIGEST
    if run.operation is not None:
        kind = lake.REWRITE
        word, _, detail = run.operation.partition(" ")
        body["cause"] = CAUSES.get(word, run.operation)
        if word == ERASE:
            body["erasure"] = detail
    index = append_entry(
        db, kind=kind, actor=SYSTEM_ACTOR, subject=f"model:{row.model}", body=body, at=site.clock.now()
    )
    row.previous = sha256(db.get_one(LedgerEntry, index).entry.encode())
    row.version = run.versions[1]
    for leaf in run.listed.removed:
        db.execute(
            delete(LakeFile).where(LakeFile.model == row.model, LakeFile.table == row.table, LakeFile.path == leaf.path)
        )
    gone = {leaf.path for leaf in run.listed.removed}
    db.add_all(
        LakeFile(model=row.model, table=row.table, path=leaf.path, sha256=leaf.sha256, rows=leaf.rows)
        for leaf in run.listed.added
        if leaf.path not in gone
    )
    db.flush()

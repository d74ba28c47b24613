"""Remove a subject's rows from the Delta tables of a model, file by file, and delete the files that held them.

Each file is replaced by one without the rows, in a commit of its own that names the erasure. The Delta log thus records
what was done, and a killed erasure continues with the remaining files.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from sqlalchemy import select

from core.artifacts import fsync_folder
from governance import erasure
from governance.erasure import Case
from governance.ledger.read import ledger_entries
from governance.verify.lake import REWRITE, LeafList
from monitor import store
from monitor.events import wal_damage, wal_records
from monitor.ingest.otlp import span_trees
from monitor.ingest.otlp.given_up import forget_texts
from monitor.lake.errors import FileReplacedError
from monitor.lake.snapshot import DataFile, Snapshot
from monitor.lake.table import LakeTable
from monitor.lake_tables import LakeFile
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import SpecRevision
from monitor.upkeep import digests

# Events are found by their subject; outcomes and quarantined rows are found by the ids of these events.
# So are replacements of these events, and those that name the subject themselves.
TABLES_IN_ORDER: Final = ("events", "replacements", "outcomes", "quarantine")
_ARRIVAL_COLUMN: Final = {"events": "received_at", "replacements": "received_at", "outcomes": "ts", "quarantine": "ts"}
Search = Callable[[pl.LazyFrame], pl.DataFrame]


def erase_rows(site: Site, case: Case) -> None:
    """Remove the subject's rows from every table of a model, including rows that arrive meanwhile.

    No sender is blocked, so a row acknowledged after this has started may be stored after it has ended.
    """
    columns = subject_columns(site, case.model)
    site.events.settle(case.model)  # a table does not exist while its first rows are still in the log
    for kind in TABLES_IN_ORDER:
        table = site.events.table(case.model, kind)
        if table.snapshot().version >= 0:
            _erase_from_table(site, case, table, kind, columns)
            _delete_unlisted_files(site, case, table)
    digests.record(site, case.model)


def subject_columns(site: Site, model: str) -> tuple[str, ...]:
    """Columns that hold the subject in any revision of the spec."""
    with site.database.read() as db:
        query = select(SpecRevision.document).where(SpecRevision.model_id == store.model(db, model).id)
        specs = [parse_spec(document) for document in db.scalars(query)]
    return tuple(dict.fromkeys(name for spec in specs for name in spec.with_role("subject")))


def _erase_from_table(site: Site, case: Case, table: LakeTable, kind: str, columns: Sequence[str]) -> None:
    clean: set[str] = set()  # files that were searched and hold no row of the subject
    while True:
        site.events.settle(case.model)
        digests.record(site, case.model)  # first, so that the digest of every replaced file is known
        with site.database.read() as db:
            query = select(LakeFile.path).where(LakeFile.model == case.model, LakeFile.table == kind)
            recorded = set(db.scalars(query))
        search = _search(site, case, kind, columns)
        for file in [f for f in table.snapshot().files if f.path in recorded - clean]:
            try:
                hits = search(table.scan_files(table.snapshot(), [file]))
                if hits.is_empty():
                    clean.add(file.path)
                    continue
                if kind == "events":
                    _remember_ids(site, case, hits)
                _replace_file(site, case, table, file, hits["seq"].to_list())
            except (FileReplacedError, FileNotFoundError):  # a compaction was faster; its file is searched next
                continue
        with site.events.locked(case.model):  # no process writes the table now
            if all(f.path in clean or _is_clean(search, table, f) for f in table.snapshot().files):
                return


def _is_clean(search: Search, table: LakeTable, file: DataFile) -> bool:
    return search(table.scan_files(table.snapshot(), [file])).is_empty()


def _search(site: Site, case: Case, kind: str, columns: Sequence[str]) -> Search:
    """A search for the subject's rows: it returns `seq` and, for events, `event_id` and `ts`."""
    if kind == "events":

        def by_subject(rows: pl.LazyFrame) -> pl.DataFrame:
            named = [pl.col(c) == case.subject for c in columns if c in rows.collect_schema()]
            wanted = pl.any_horizontal(named) if named else pl.lit(value=False)
            return rows.filter(wanted).select("seq", "event_id", "ts").collect()

        return by_subject
    with site.database.read() as db:
        ids = list(erasure.remembered(db, case, "ids"))
    if kind == "replacements":

        def by_subject_or_event(rows: pl.LazyFrame) -> pl.DataFrame:
            named = [pl.col(c) == case.subject for c in columns if c in rows.collect_schema()]
            wanted = pl.any_horizontal(*named, pl.col("@of").is_in(ids)).fill_null(value=False)
            return rows.filter(wanted).select("seq").collect()

        return by_subject_or_event
    if kind == "outcomes":
        return lambda rows: rows.filter(pl.col("event_id").is_in(ids)).select("seq").collect()

    # A rejected row names its subject in a separate column; where one line names several, each is marked in its text.
    named = (pl.col("subject") == case.subject) | pl.col("raw").str.contains(f"[subject:{case.subject}]", literal=True)
    wanted = pl.col("event_id").is_in(ids).fill_null(value=False) | named.fill_null(value=False)
    return lambda rows: rows.filter(wanted).select("seq").collect()


def _remember_ids(site: Site, case: Case, hits: pl.DataFrame) -> None:
    """Remember ids, sequence numbers and times of the events, by which everything derived from them is found later."""
    found = {i: [seq, ts] for i, seq, ts in hits.select("event_id", "seq", pl.col("ts").dt.epoch("us")).iter_rows()}
    with site.database.write() as db:
        erasure.remember(db, case, "ids", found)
        forget_texts(db, store.model(db, case.model), list(found))
        span_trees.forget(db, list(found))


def _replace_file(site: Site, case: Case, table: LakeTable, file: DataFile, seqs: Sequence[int]) -> None:
    rows = table.scan_files(table.snapshot(), [file]).filter(~pl.col("seq").is_in(list(seqs)))
    kept = rows.with_columns(pl.lit(file.day, dtype=pl.Date).alias("date")).collect()
    added = table.write([kept] if kept.height else [])
    try:
        with site.events.locked(case.model):
            table.swap([file], added, operation=f"{digests.ERASE} {case.id}", changes=True)
    except BaseException:
        table.discard(added)
        raise


def _delete_unlisted_files(site: Site, case: Case, table: LakeTable) -> None:
    """Delete every data file that the table does not list, with the index of its ids.

    Files of earlier versions and files left by a killed writer may hold the rows. `Table.vacuum` spares young files,
    because a compaction may be about to commit them; here such a compaction must start again.
    """
    with site.events.locked(case.model):
        present = {f.path for f in table.snapshot().files}
        doomed = [
            p for p in table.folder.glob("date=*/*.parquet") if p.relative_to(table.folder).as_posix() not in present
        ]
        names = {path.rpartition("/")[2] for path in present}
        doomed += [p for p in (table.folder / "_ids").glob("*.ids") if p.stem not in names]
        for path in doomed:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in doomed}:
            fsync_folder(folder)


def segments_left(site: Site, case: Case) -> int:
    """Number of write-ahead log segments that held rows of the model at the first call and are still on disk.

    Their rows have been removed from the tables; a process deletes a segment once all of its rows are flushed.
    """
    site.events.flush_orphans()
    wal_damage.forget(site.events.unflushed.aside, case.model)
    holding = {
        f"{segment.parent.name}/{segment.name}": 0
        for log in site.events.unflushed.root.glob("[!.]*")
        for segment in wal_records.segments(log)
        if _holds(segment, case.model)
    }
    with site.database.write() as db:
        first = erasure.remembered(db, case, "segments")
        if not first:
            first = {**holding, "": 0}  # never empty, so that it is remembered only once
            erasure.remember(db, case, "segments", first)
    return len(first.keys() & holding.keys())


def _holds(segment: Path, model: str) -> bool:
    try:
        return any(record.header.model == model for record in wal_records.records(segment, segment.parent.name))
    except FileNotFoundError:  # deleted at this moment
        return False


# --- proof ------------------------------------------------------------------------------------------------------------


def tables_proof(site: Site, case: Case) -> list[dict[str, Any]]:
    """Per table: the files replaced, with digests and rows before and after, and a fresh search of the table."""
    with site.database.read() as db:
        entries = ledger_entries(db, (REWRITE,), subject=f"model:{case.model}")
    mine = [e for e in entries if e["body"].get("erasure") == str(case.id)]
    columns = subject_columns(site, case.model)
    proof = []
    for kind in TABLES_IN_ORDER:
        table = site.events.table(case.model, kind)
        snapshot = table.snapshot()
        if snapshot.version < 0:
            continue
        bodies = [e["body"] for e in mine if e["body"]["table"] == kind]
        files = [replaced for body in bodies for replaced in _replaced_files(site, body)]
        proof.append(
            {
                "table": kind,
                "version_before": bodies[0]["from_version"] - 1 if bodies else snapshot.version,
                "version_after": bodies[-1]["to_version"] if bodies else snapshot.version,
                "rows_removed": sum(f["rows_before"] - f["rows_after"] for f in files),
                "files": files,
                "entries": [e["index"] for e in mine if e["body"]["table"] == kind],
                "after": _table_state(site, case, kind, table, snapshot, columns),
            }
        )
    return proof


def _replaced_files(site: Site, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = LeafList.from_bytes(site.artifacts.get(body["leaves"]))
    by_version = {leaf.version: leaf for leaf in listed.added}
    found = []
    for before in sorted(listed.removed, key=lambda leaf: leaf.version):
        after = by_version.get(before.version)
        found.append(
            {
                "version": before.version, "removed": before.path, "sha256_before": before.sha256,
                "rows_before": before.rows, "added": after.path if after else None,
                "sha256_after": after.sha256 if after else None, "rows_after": after.rows if after else 0,
            }
        )  # fmt: skip
    return found


def _table_state(
    site: Site, case: Case, kind: str, table: LakeTable, snapshot: Snapshot, columns: Sequence[str]
) -> dict[str, Any]:
    """A fresh search of the table: rows of the subject, and files on disk that the table does not list.

    `found` counts rows that had arrived when the erasure was requested, `later` those that arrived afterwards.
    """
    search = _search(site, case, kind, columns)
    rows = table.scan(version=snapshot.version)
    known = pl.col(_ARRIVAL_COLUMN[kind]) <= pl.lit(case.requested_at, dtype=pl.Datetime("us", "UTC"))
    present = {f.path for f in snapshot.files}
    on_disk = {p.relative_to(table.folder).as_posix() for p in table.folder.glob("date=*/*.parquet")}
    return {
        "version": snapshot.version, "files": len(present), "rows": snapshot.rows,
        "found": search(rows.filter(known)).height, "later": search(rows.filter(~known)).height,
        "other_files": len(on_disk - present),
    }  # fmt: skip

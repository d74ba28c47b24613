"""Upkeep of a model's tables: what is too old goes, small files are merged, the log is summed up and cleaned."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from core import queue
from core.artifacts import file_digest
from core.jobs import UpkeepJob
from core.logs import logger
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import service
from monitor.events.columns import KINDS
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.upkeep import digests

if TYPE_CHECKING:
    from monitor.lake.compact import Rewrite
    from monitor.lake.table import LakeTable

TURN_S: Final = 20.0  # windows wait for the thread that merges
log = logger(__name__)


def run(site: Site, model: str) -> bool:
    """Bring every table of a model in order; False where files are left to merge, for another turn.

    Safe to run again after it was killed at any point.
    """
    from monitor.lake.compact import compact

    end = time.monotonic() + TURN_S
    with site.database.read() as db:
        spec = service.current_spec(site, db, model).spec
    digests.record(site, model)  # what is about to be rewritten
    for kind in KINDS:
        table = site.events.table(model, kind)
        if table.snapshot().version < 0:
            continue
        if (dropped := retain(site, spec, kind, table)) is not None:
            record(dropped)
        for rewrite in compact(model, kind, table, lambda: site.events.locked(model)):
            record(rewrite)
            if time.monotonic() > end:
                return False
    digests.record(site, model)  # before anything it would read is cleaned away
    keep, now = duration(spec.history), site.clock.now()
    for kind in KINDS:
        table = site.events.table(model, kind)
        table.clean_log(keep=keep, now=now)
        table.vacuum(keep=keep, now=now)
    return True


def ask(db: Session, model: str, now: datetime) -> None:
    """Queue the upkeep of a model."""
    key = f"upkeep:{model}"
    queue.enqueue(db, UpkeepJob(model=model), now=now, dedupe_key=key, lock_key=key)


def record(rewrite: "Rewrite") -> None:
    """Say which files replaced which."""
    log.info(
        "files rewritten", model=rewrite.model, table=rewrite.table, cause=rewrite.cause, removed=len(rewrite.removed),
        added=len(rewrite.added), rows=rewrite.rows,
    )  # fmt: skip


def is_crowded(site: Site, model: str) -> bool:
    """Whether a day's partition holds so many small files that they should be merged now."""
    from monitor.lake.compact import MAX_SMALL_FILES, small_files

    tables = (site.events.table(model, kind) for kind in KINDS)
    return any(len(files) > MAX_SMALL_FILES for table in tables for files in small_files(table.snapshot()).values())


def retain(site: Site, spec: ModelSpec, kind: str, table: "LakeTable") -> "Rewrite | None":
    """Drop the partitions of days that lie before the spec's retention, with a ledger entry that names their files."""
    from monitor.lake.compact import Rewrite

    if spec.retention is None:
        return None
    now = site.clock.now()
    first_kept = (now - duration(spec.retention)).date()
    found = [f for f in table.snapshot().files if f.day is not None and f.day < first_kept]
    if not found:
        return None
    digests = {f.path: file_digest(table.folder / f.path) for f in found}
    with site.events.locked(spec.model):
        # What was replaced meanwhile is left to the next run. The entry comes first: killed between the two, the
        # next run says again what it deletes, and nothing is ever deleted without a word.
        present = {f.path for f in table.snapshot().files}
        doomed = [f for f in found if f.path in present]
        if not doomed:
            return None
        rows = sum(f.rows for f in doomed)
        _enter(site, spec, kind, first_kept.isoformat(), [(f.path, f.rows, digests[f.path]) for f in doomed], now)
        after = table.swap(doomed, [], operation="DELETE", changes=True)
    return Rewrite(spec.model, kind, after.version, tuple(f.path for f in doomed), (), rows, 0, "retention")


def _enter(
    site: Site, spec: ModelSpec, kind: str, first_kept: str, files: list[tuple[str, int, str]], now: datetime
) -> None:
    with site.database.write() as db:
        append_entry(
            db, kind="lake.retention", actor=SYSTEM_ACTOR, subject=f"model:{spec.model}", at=now,
            body={
                "table": kind, "retention": spec.retention, "first_day_kept": first_kept,
                "dates": sorted({path.split("/")[0].partition("=")[2] for path, _, _ in files}),
                "rows": sum(rows for _, rows, _ in files),
                "files": [{"path": path, "rows": rows, "digest": digest} for path, rows, digest in sorted(files)],
            },
        )  # fmt: skip

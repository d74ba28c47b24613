"""Maintain the tables of a model: apply retention, merge small files, and checkpoint and clean the Delta log."""

import time
from datetime import datetime
from functools import partial
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
from monitor.upkeep.held import held_days, held_files, spares

if TYPE_CHECKING:
    from monitor.lake.compact import Rewrite
    from monitor.lake.table import LakeTable

MAX_TURN_S: Final = 20.0  # evaluations wait for the thread that merges files
log = logger(__name__)


def maintain_tables(site: Site, model: str) -> bool:
    """Apply retention to every table of a model, merge its small files and clean its Delta log.

    Safe to run again after it was killed at any point.

    Returns:
        False where files are left to merge in another turn.
    """
    from monitor.lake.compact import compact

    end = time.monotonic() + MAX_TURN_S
    with site.database.read() as db:
        spec = service.current_spec(site, db, model).spec
    digests.record(site, model)  # first, the files that are about to be rewritten
    for kind in KINDS:
        table = site.events.table(model, kind)
        if table.snapshot().version < 0:
            continue
        if (dropped := apply_retention(site, spec, kind, table)) is not None:
            log_rewrite(dropped)
        for rewrite in compact(model, kind, table, lambda: site.events.locked(model)):
            log_rewrite(rewrite)
            if time.monotonic() > end:
                return False
    digests.record(site, model)  # before the log entries it reads are cleaned
    keep, now, found = duration(spec.history), site.clock.now(), held_days(site, model)
    for kind in KINDS:
        table = site.events.table(model, kind)
        table.clean_log(keep=keep, now=now)
        table.vacuum(keep=keep, now=now, spares=partial(spares, found, kind))
    return True


def request_upkeep(db: Session, model: str, now: datetime) -> None:
    """Enqueue the upkeep of a model."""
    key = f"upkeep:{model}"
    queue.enqueue(db, UpkeepJob(model=model), now=now, dedupe_key=key, lock_key=key)


def log_rewrite(rewrite: "Rewrite") -> None:
    """Log which files replaced which."""
    log.info(
        "files rewritten", model=rewrite.model, table=rewrite.table, cause=rewrite.cause, removed=len(rewrite.removed),
        added=len(rewrite.added), rows=rewrite.rows,
    )  # fmt: skip


def is_crowded(site: Site, model: str) -> bool:
    """Whether the partition of a day holds so many small files that they should be merged now."""
    from monitor.lake.compact import MAX_SMALL_FILES, small_files

    tables = (site.events.table(model, kind) for kind in KINDS)
    return any(len(files) > MAX_SMALL_FILES for table in tables for files in small_files(table.snapshot()).values())


def apply_retention(site: Site, spec: ModelSpec, kind: str, table: "LakeTable") -> "Rewrite | None":
    """Delete the partitions of days before the spec's retention, with a ledger entry that names their files.

    What a legal hold keeps stays.
    """
    from monitor.lake.compact import Rewrite

    if spec.retention is None:
        return None
    now = site.clock.now()
    first_kept = (now - duration(spec.retention)).date()
    found = [f for f in table.snapshot().files if f.day is not None and f.day < first_kept]
    if not found:
        return None
    held = held_files(site, spec.model, kind, table, found)
    found = [f for f in found if f.path not in held]
    if not found:
        return None
    digests = {f.path: file_digest(table.folder / f.path) for f in found}
    with site.events.locked(spec.model):
        # Files replaced meanwhile are left to the next run. The ledger entry comes first: after a kill between the two,
        # the next run records the deletion again, so nothing is ever deleted without an entry.
        present = {f.path for f in table.snapshot().files}
        held = held_files(site, spec.model, kind, table, [f for f in found if f.path in present])  # meanwhile
        doomed = [f for f in found if f.path in present - held]
        if not doomed:
            return None
        rows = sum(f.rows for f in doomed)
        _record_retention(
            site, spec, kind, first_kept.isoformat(), [(f.path, f.rows, digests[f.path]) for f in doomed], now
        )
        after = table.swap(doomed, [], operation="DELETE", changes=True)
    return Rewrite(spec.model, kind, after.version, tuple(f.path for f in doomed), (), rows, 0, "retention")


def _record_retention(
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

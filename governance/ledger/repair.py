"""Repair what follows from sound entries and notes: stored hashes, columns beside them, the head. It is recorded."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from core.errors import IntegrityFailureError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.checkpointing import copy_to_anchor
from governance.ledger.extends import Places
from governance.ledger.guard import unguarded
from governance.ledger.head import REPAIR_KIND, frontier_of_entries, set_head
from governance.ledger.read import ledger_leaves, stored_bytes
from governance.ledger.selfcheck import StoredLedger, as_text, verify_ledger
from governance.ledger.tree import completed
from governance.proof import merkle
from governance.tables import LedgerHead, LedgerSubtree
from governance.verify.findings import Finding

MAX_NAMED: Final = 100  # repairs that the entry names
_ENTRY: Final = text("""update ledger_entry set kind = :kind, subject = :subject, entry = :entry, leaf = :leaf
    where "index" = :at""")


def repair_ledger(
    db: Session, *, places: Places, vkeys: Sequence[str], now: datetime
) -> tuple[Sequence[Finding], int | None]:
    """Repair every finding that has a repair, in the caller's transaction.

    Returns:
        What was repaired, and the entry that records it; None if nothing was damaged.

    Raises:
        IntegrityFailureError: something cannot be repaired from what is there; nothing was changed.
    """
    verdict = verify_ledger(db, places=places, vkeys=vkeys)
    stuck = [f for f in verdict.findings if not f.repair]
    if stuck:
        raise IntegrityFailureError(
            f"{len(stuck)} finding(s) cannot be repaired from what is there, so nothing was changed; the first: "
            f"{stuck[0]}. Restore a backup, or keep this as evidence", findings=[str(f) for f in stuck],
        )  # fmt: skip
    if not verdict.findings:
        return (), None
    stored = StoredLedger.read(db)
    with unguarded(db):
        for row in stored.entries:
            _repair_entry(db, row)
        for checkpoint in stored.checkpoints:
            _repair_checkpoint(db, checkpoint)
    if stored.head is None:
        empty = merkle.Frontier()
        db.add(LedgerHead(id=1, size=0, root=empty.root().hex(), frontier=empty.state()))
        db.flush()
    set_head(db, frontier_of_entries(db))
    copy_to_anchor(db, places.anchor)
    rebuild_subtrees(db)
    db.expire_all()
    repaired = sorted({f"{f.where}: {f.what}" for f in verdict.findings})
    body: dict[str, Any] = {
        "repaired": repaired[:MAX_NAMED], "count": len(verdict.findings), "entries": verdict.facts.entries,
        "signed": verdict.facts.size or 0,
    }  # fmt: skip
    index = append_entry(db, kind=REPAIR_KIND, actor=SYSTEM_ACTOR, subject="ledger", body=body, at=now)
    return verdict.findings, index


def rebuild_subtrees(db: Session) -> None:
    """Store the hashes of complete subtrees anew, as they follow from the stored leaf hashes."""
    db.execute(delete(LedgerSubtree))
    frontier = merkle.Frontier()
    for leaf in ledger_leaves(db):
        db.add_all(completed(frontier, leaf))
        frontier.append(leaf)
    db.flush()


def _repair_entry(db: Session, row: Any) -> None:
    line = stored_bytes(row.entry)
    entry = json.loads(line)
    right = (entry["kind"], entry["subject"], line.decode(), merkle.leaf_hash(line).hex())
    if right != (row.kind, row.subject, row.entry, row.leaf):
        names = ("kind", "subject", "entry", "leaf")
        db.execute(_ENTRY, {"at": row[0], **dict(zip(names, right, strict=True))})


def _repair_checkpoint(db: Session, row: Any) -> None:
    """Columns from the note, which was verified; the size is the key, and is found from nothing else."""
    note = as_text(row.note)
    _, _, root, at = note.split("\n")[:4]
    values = {
        "size": row.size, "note": note, "root": base64.b64decode(root).hex(), "at": _stored_time(db, at),
    }  # fmt: skip
    db.execute(text("update ledger_checkpoint set root = :root, note = :note, at = :at where size = :size"), values)


def _stored_time(db: Session, line: str) -> Any:
    at = datetime.fromisoformat(line.removeprefix("time "))
    return at.replace(tzinfo=None).isoformat(" ", "microseconds") if db.get_bind().dialect.name == "sqlite" else at

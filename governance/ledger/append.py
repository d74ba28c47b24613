"""Append an entry to the ledger. No other code writes to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import canonical
from governance.ledger.head import REPAIR_KIND, Head, lock_head
from governance.ledger.tree import completed
from governance.proof import merkle
from governance.tables import LedgerEntry

SYSTEM_ACTOR: Final = "assay"  # of entries for what the service did without being asked by a person


def append_entry(db: Session, *, kind: str, actor: str, subject: str, body: Mapping[str, Any], at: datetime) -> int:
    """Add one entry in the caller's transaction; returns its index.

    If the head row was damaged and could be computed again, an entry before it says so.
    """
    return _append(db, record_repair(db, at), kind=kind, actor=actor, subject=subject, body=body, at=at)


def record_repair(db: Session, at: datetime) -> Head:
    """Lock the head; if it had to be repaired, add the entry that says so."""
    head = lock_head(db)
    if head.repaired:
        body = {"repaired": [f"ledger head: {name}" for name in head.repaired], "entries": head.row.size}
        _append(db, head, kind=REPAIR_KIND, actor=SYSTEM_ACTOR, subject="ledger", body=body, at=at)
    return head


def _append(
    db: Session, head: Head, *, kind: str, actor: str, subject: str, body: Mapping[str, Any], at: datetime
) -> int:
    index, frontier = head.row.size, head.frontier
    line = canonical({"index": index, "at": at, "kind": kind, "actor": actor, "subject": subject, "body": body})
    leaf = merkle.leaf_hash(line)
    for subtree in completed(frontier, leaf):
        db.merge(subtree)  # a log that lost its end may have left the row of an earlier one
    frontier.append(leaf)
    db.add(LedgerEntry(index=index, kind=kind, subject=subject, entry=line.decode(), leaf=leaf.hex()))
    # Not flushed: the entries of one transaction go to the database together, at its next query or its commit.
    head.row.size, head.row.root, head.row.frontier = frontier.size, frontier.root().hex(), frontier.state()
    return index


def hold_head(db: Session) -> None:
    """Let nobody else append until the caller's transaction ends, so that what it counts stays as it is."""
    lock_head(db)

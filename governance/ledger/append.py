"""Append an entry to the ledger. No other code writes to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import canonical
from core.db import insert_if_new
from governance.proof import merkle
from governance.tables import LedgerEntry, LedgerHead

SYSTEM_ACTOR: Final = "assay"  # of entries for what the service did without being asked by a person


def append_entry(db: Session, *, kind: str, actor: str, subject: str, body: Mapping[str, Any], at: datetime) -> int:
    """Add one entry in the caller's transaction; returns its index."""
    head = db.get(LedgerHead, 1, with_for_update=True, populate_existing=True) or _first_head(db)
    index = head.size
    line = canonical({"index": index, "at": at, "kind": kind, "actor": actor, "subject": subject, "body": body})
    leaf = merkle.leaf_hash(line)
    frontier = merkle.Frontier.from_state(head.frontier)
    frontier.append(leaf)
    db.add(LedgerEntry(index=index, kind=kind, subject=subject, entry=line.decode(), leaf=leaf.hex()))
    head.size, head.root, head.frontier = frontier.size, frontier.root().hex(), frontier.state()
    db.flush()
    return index


def hold_head(db: Session) -> None:
    """Let nobody else append until the caller's transaction ends, so that what it counts stays as it is."""
    if db.get(LedgerHead, 1, with_for_update=True, populate_existing=True) is None:
        _first_head(db)


def _first_head(db: Session) -> LedgerHead:
    """Create the head row of an empty log. Two writers that start at the same moment get the same row."""
    empty = merkle.Frontier()
    row = {"id": 1, "size": 0, "root": empty.root().hex(), "frontier": empty.state()}
    insert_if_new(db, LedgerHead, row)
    return db.get_one(LedgerHead, 1, with_for_update=True, populate_existing=True)

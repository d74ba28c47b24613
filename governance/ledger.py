"""The ledger: the only writer of the log, and its export as lines and checkpoints.

An entry is appended in the transaction of the change it records. The locked head row gives the order; its frontier
gives the root in O(log n). Personal data never enters an entry: only digests, counts, names of keys and reasons.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.canonical import canonical
from core.db import insert_if_new
from core.errors import IntegrityFailureError, InvalidError, NotFoundError
from governance import checkpoint as notes
from governance import merkle
from governance.checkpoint import SigningKey
from governance.tables import LedgerCheckpoint, LedgerEntry, LedgerHead


def append(db: Session, *, kind: str, actor: str, subject: str, body: Mapping[str, Any], at: datetime) -> int:
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


def _first_head(db: Session) -> LedgerHead:
    """Make the head row of an empty log; of two writers that come first at once, both end up with the same row."""
    empty = merkle.Frontier()
    row = {"id": 1, "size": 0, "root": empty.root().hex(), "frontier": empty.state()}
    insert_if_new(db, LedgerHead, row)
    return db.get_one(LedgerHead, 1, with_for_update=True, populate_existing=True)


def size(db: Session) -> int:
    return db.scalar(select(LedgerHead.size)) or 0


def lines(db: Session, first: int = 0, last: int | None = None) -> Iterator[bytes]:
    """The exact entries with first <= index < last, in order."""
    query = select(LedgerEntry.entry).where(LedgerEntry.index >= first).order_by(LedgerEntry.index)
    if last is not None:
        query = query.where(LedgerEntry.index < last)
    for entry in db.scalars(query.execution_options(yield_per=1000)):
        yield entry.encode()


def rows(
    db: Session, *, first: int = 0, limit: int = 100, kind: str | None = None, subject: str | None = None
) -> Sequence[LedgerEntry]:
    query = select(LedgerEntry).where(LedgerEntry.index >= first).order_by(LedgerEntry.index).limit(limit)
    if kind:
        query = query.where(LedgerEntry.kind == kind)
    if subject:
        query = query.where(LedgerEntry.subject == subject)
    return db.scalars(query).all()


def entries(db: Session, kinds: Sequence[str], subject: str | None = None) -> list[dict[str, Any]]:
    """All entries of some kinds, read, in order."""
    query = select(LedgerEntry.entry).where(LedgerEntry.kind.in_(kinds)).order_by(LedgerEntry.index)
    if subject is not None:
        query = query.where(LedgerEntry.subject == subject)
    return [json.loads(entry) for entry in db.scalars(query)]


def leaves(db: Session, last: int | None = None) -> list[bytes]:
    """Stored leaf hashes of the first `last` entries."""
    query = select(LedgerEntry.leaf).order_by(LedgerEntry.index)
    if last is not None:
        query = query.where(LedgerEntry.index < last)
    return [bytes.fromhex(leaf) for leaf in db.scalars(query)]


def latest_checkpoint(db: Session) -> LedgerCheckpoint | None:
    return db.scalars(select(LedgerCheckpoint).order_by(LedgerCheckpoint.size.desc()).limit(1)).first()


def checkpoint(db: Session, *, key: SigningKey, anchor: Path, now: datetime) -> LedgerCheckpoint:
    """Sign the head as it is committed, keep the note in the database and copy it to the anchor folder.

    Before it signs, the new head is proved to extend the last checkpoint: a log that was rewritten is not signed
    again.

    Raises:
        InvalidError: the log is empty.
        IntegrityFailureError: the stored leaves do not lead from the last checkpoint to the head.
    """
    head = db.get(LedgerHead, 1, with_for_update=True, populate_existing=True)
    if head is None or head.size == 0:
        raise InvalidError("the ledger is empty; there is nothing to sign yet")
    last = latest_checkpoint(db)
    if last is not None and last.size == head.size and last.root == head.root:
        return last
    try:
        stored = leaves(db, head.size)
    except ValueError as error:
        raise IntegrityFailureError(
            "a stored leaf hash is not hexadecimal; run `assay verify`", size=head.size
        ) from error
    root = merkle.root(stored)
    if root.hex() != head.root or (last is not None and merkle.root(stored[: last.size]).hex() != last.root):
        raise IntegrityFailureError(
            "the stored ledger entries do not extend the last checkpoint; nothing was signed. "
            "Run `assay verify` to see which entry changed",
            size=head.size,
        )
    note = notes.sign(key, key.name, head.size, root, now)
    row = LedgerCheckpoint(size=head.size, root=head.root, note=note, at=now)
    db.add(row)
    write_durably(anchor / f"checkpoint-{head.size:012d}.note", note.encode())
    return row


def inclusion_proof(db: Session, index: int, tree_size: int | None = None) -> dict[str, Any]:
    """Audit path of one entry in the tree of a size (the newest checkpoint's by default)."""
    entry = db.get(LedgerEntry, index)
    if entry is None:
        raise NotFoundError(f"ledger entry {index} does not exist; the ledger has {size(db)} entries", index=index)
    if tree_size is None:
        last = latest_checkpoint(db)
        tree_size = last.size if last is not None and last.size > index else size(db)
    stored = leaves(db, tree_size)
    proof = merkle.inclusion_proof(stored, index)
    return {
        "index": index, "size": tree_size, "leaf": entry.leaf, "entry": entry.entry,
        "root": merkle.root(stored).hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip


def consistency_proof(db: Session, first: int, second: int) -> dict[str, Any]:
    stored = leaves(db, second)
    proof = merkle.consistency_proof(stored, first, second)
    return {
        "first": first, "second": second, "first_root": merkle.root(stored[:first]).hex(),
        "second_root": merkle.root(stored).hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip

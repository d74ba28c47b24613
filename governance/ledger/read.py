"""The ledger: the only writer of the log, and its export as lines and checkpoints.

An entry is appended in the transaction of the change it records. The locked head row gives the order; its frontier
gives the root in O(log n). Personal data never enters an entry: only digests, counts, names of keys and reasons.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.proof import merkle
from governance.tables import LedgerEntry, LedgerHead
from governance.verify.findings import Finding


def ledger_size(db: Session) -> int:
    return db.scalar(select(LedgerHead.size)) or 0


def entry_time(db: Session, index: int) -> datetime | None:
    """When an entry was added; None if there is no such entry, or it cannot be read."""
    entry = db.scalar(select(LedgerEntry.entry).where(LedgerEntry.index == index))
    try:
        return None if entry is None else datetime.fromisoformat(json.loads(stored_bytes(entry))["at"])
    except (ValueError, TypeError, KeyError):
        return None


def stored_bytes(value: Any) -> bytes:
    """The bytes of a column of text, which SQLite may hold in another form after somebody changed it by hand."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value).encode(errors="surrogateescape")


def ledger_lines(db: Session, first: int = 0, last: int | None = None) -> Iterator[bytes]:
    """The exact entries with first <= index < last, in order."""
    query = select(LedgerEntry.entry).where(LedgerEntry.index >= first).order_by(LedgerEntry.index)
    if last is not None:
        query = query.where(LedgerEntry.index < last)
    for entry in db.scalars(query.execution_options(yield_per=1000)):
        yield stored_bytes(entry)


def ledger_rows(
    db: Session, *, first: int = 0, limit: int = 100, kind: str | None = None, subject: str | None = None,
    subjects: Sequence[str] | None = None,
) -> Sequence[LedgerEntry]:  # fmt: skip
    query = select(LedgerEntry).where(LedgerEntry.index >= first).order_by(LedgerEntry.index).limit(limit)
    if kind:
        query = query.where(LedgerEntry.kind == kind)
    if subject:
        query = query.where(LedgerEntry.subject == subject)
    if subjects is not None:
        query = query.where(LedgerEntry.subject.in_(subjects))
    return db.scalars(query).all()


def ledger_entries(db: Session, kinds: Sequence[str], subject: str | None = None) -> list[dict[str, Any]]:
    """All entries of some kinds, read, in order."""
    query = select(LedgerEntry.entry).where(LedgerEntry.kind.in_(kinds)).order_by(LedgerEntry.index)
    if subject is not None:
        query = query.where(LedgerEntry.subject == subject)
    return [json.loads(entry) for entry in db.scalars(query)]


def ledger_leaves(db: Session, last: int | None = None) -> list[bytes]:
    """Stored leaf hashes of the first `last` entries."""
    query = select(LedgerEntry.leaf).order_by(LedgerEntry.index)
    if last is not None:
        query = query.where(LedgerEntry.index < last)
    return [bytes.fromhex(stored_bytes(leaf).decode(errors="replace")) for leaf in db.scalars(query)]


def moved_entries(db: Session) -> list[Finding]:
    """Entries that queries would not find, or find as others: what stands beside an entry is not what it says.

    `governance.ledger.selfcheck` finds the same among all else; this is for readers who look entries up.
    """
    found = []
    query = select(LedgerEntry.index, LedgerEntry.kind, LedgerEntry.subject, LedgerEntry.entry, LedgerEntry.leaf)
    for index, kind, subject, line, leaf in db.execute(query.execution_options(yield_per=1000)):
        where = f"ledger_entry {index}"
        if merkle.leaf_hash(stored_bytes(line)).hex() != leaf:
            found.append(Finding("row.changed", where, "entry as its leaf hash says", "another entry"))
            continue
        entry = json.loads(line)
        for name, value in (("kind", kind), ("subject", subject)):
            if entry.get(name) != value:
                found.append(Finding("row.changed", where, f"{name} {entry.get(name)}", f"{name} {value}"))
    return found

"""Ledger entries that bind rows, and the leaves stored beside them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.proof import merkle
from governance.tables import LedgerBinding, LedgerEntry
from governance.verify.rows import Key, pack

SUBJECT: Final = "rows"
# Leaves of an entry that the log has lost may have stayed. An object would cost a flush.
_BESIDE: Final = text(
    "insert into ledger_binding (entry, leaves) values (:entry, :leaves) "
    "on conflict (entry) do update set leaves = excluded.leaves"
)


def leaf(op: str, key: Key, values: str) -> str:
    return f"{op} {key[0]} {key[1]} {values}"


def append_leaves(db: Session, kind: str, leaves: Sequence[str], body: Mapping[str, Any], now: datetime) -> int:
    """Append the entry that binds these leaves in the caller's transaction, and store them beside it."""
    root = merkle.root([merkle.leaf_hash(line.encode()) for line in leaves]).hex()
    index = append_entry(
        db, kind=kind, actor=SYSTEM_ACTOR, subject=SUBJECT, at=now, body={"root": root, "leaves": len(leaves), **body}
    )
    db.connection().execute(_BESIDE, {"entry": index, "leaves": pack(leaves)})
    return index


def counted(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Counts of leaves by table, and by what they do."""
    found: dict[str, dict[str, int]] = {}
    for (table, op), count in sorted(counts.items()):
        found.setdefault(table, {})[op] = count
    return found


def binding_entries(db: Session, kinds: Sequence[str]) -> Iterator[tuple[int, str, str, bytes | None]]:
    """Index, exact text, leaf hash and stored leaves of each entry of some kinds, in order."""
    query = (
        select(LedgerEntry.index, LedgerEntry.entry, LedgerEntry.leaf, LedgerBinding.leaves)
        .join(LedgerBinding, LedgerBinding.entry == LedgerEntry.index, isouter=True)
        .where(LedgerEntry.kind.in_(kinds))
        .order_by(LedgerEntry.index)
    )
    yield from (
        (i, entry, leaf, leaves) for i, entry, leaf, leaves in db.execute(query.execution_options(yield_per=500))
    )

"""The head row of the log, and how it is repaired: everything in it follows from the entries."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.db import insert_if_new
from core.errors import IntegrityFailureError
from governance.ledger.read import stored_bytes
from governance.proof import merkle
from governance.proof.merkle import Frontier, FrontierStateError
from governance.tables import LedgerEntry, LedgerHead

REPAIR_KIND: Final = "ledger.repaired"
_HELD: Final = "ledger_head"  # in a session: the head that its transaction has locked


@dataclass(frozen=True)
class Head:
    """The locked head, its frontier read; `repaired` names the columns that had to be computed from the entries."""

    row: LedgerHead
    frontier: Frontier
    repaired: tuple[str, ...] = ()


def lock_head(db: Session) -> Head:
    """Lock the head row until the caller's transaction ends; a log without one gets the head of an empty log.

    Root and frontier say the same. If they disagree, one of them is damaged, and the one that agrees with the entries
    is kept.

    Raises:
        IntegrityFailureError: neither agrees with the entries.
    """
    held: tuple[Any, Head] | None = db.info.get(_HELD)
    if held is not None and held[0] is db.get_transaction() and db.get_nested_transaction() is None:
        return held[1]  # nobody else can have changed it since
    db.info.pop(_HELD, None)
    db.flush()  # a row that is read again must hold what this transaction has added
    head = _locked(db)
    if db.get_nested_transaction() is None and not head.repaired:
        db.info[_HELD] = (db.get_transaction(), head)
    return head


def _locked(db: Session) -> Head:
    try:
        row = db.get(LedgerHead, 1, with_for_update=True, populate_existing=True) or _first_head(db)
        frontier = Frontier.from_state(row.frontier)
    except (ValueError, TypeError, AttributeError, FrontierStateError):  # no JSON, no object, or no frontier
        return _repaired(db, None)
    if frontier.size == row.size and frontier.root().hex() == row.root:
        return Head(row, frontier)
    return _repaired(db, frontier)


def _first_head(db: Session) -> LedgerHead:
    """Create the head row of an empty log. Two writers that start at the same moment get the same row."""
    empty = Frontier()
    row = {"id": 1, "size": 0, "root": empty.root().hex(), "frontier": empty.state()}
    insert_if_new(db, LedgerHead, row)
    return db.get_one(LedgerHead, 1, with_for_update=True, populate_existing=True)


def _repaired(db: Session, stored: Frontier | None) -> Head:
    size, root = db.execute(text("select size, root from ledger_head where id = 1")).one()
    found = frontier_of_entries(db)
    right = (found.size, found.root().hex())
    if (size, root) != right and (stored is None or (stored.size, stored.root().hex()) != right):
        raise IntegrityFailureError(
            "neither root nor frontier of the ledger's head agrees with its entries; nothing was added. Run "
            "`assay verify` to see what changed, and `assay ledger repair` if that says so", size=size,
        )  # fmt: skip
    columns: dict[str, tuple[Any, Any]] = {
        "size": (size, found.size), "root": (root, found.root().hex()),
        "frontier": (None if stored is None else stored.state(), found.state()),
    }  # fmt: skip
    set_head(db, found)
    row = db.get_one(LedgerHead, 1, with_for_update=True, populate_existing=True)
    return Head(row, found, tuple(name for name, (was, now) in columns.items() if was != now))


def frontier_of_entries(db: Session) -> Frontier:
    """The frontier that the stored entries have."""
    frontier = Frontier()
    query = select(LedgerEntry.entry).order_by(LedgerEntry.index).execution_options(yield_per=1000)
    for entry in db.scalars(query):
        frontier.append(merkle.leaf_hash(stored_bytes(entry)))
    return frontier


def set_head(db: Session, frontier: Frontier) -> None:
    """Store what follows from a frontier, whatever the row holds."""
    db.info.pop(_HELD, None)
    db.flush()
    values = {"size": frontier.size, "root": frontier.root().hex(), "frontier": frontier.state()}
    db.execute(
        update(LedgerHead).where(LedgerHead.id == 1).values(**values), execution_options={"synchronize_session": False}
    )

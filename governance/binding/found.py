"""Take stock once: rows from before binding began, and columns from before they were bound.

Nothing bound them when they were written. From here on they are held to what they were when they were found; a row that
appears later cannot pass for one of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.clock import Clock
from core.db import Base, Database
from core.logs import logger
from governance.binding.entries import append_leaves, counted, leaf
from governance.binding.stored import stored_rows
from governance.binding.values import bound_columns, bound_tables, table_of
from governance.ledger.append import hold_head
from governance.tables import LedgerEntry
from governance.verify.rows import FOUND, STATED, Key, encode

LEAVES: Final = 5000  # of one entry
TRIES: Final = 60  # for the database's one writer, each as long as SQLite waits (`core.db`), so half an hour
log = logger("governance.binding.found")

_DONE: Final[WeakKeyDictionary[Any, int]] = WeakKeyDictionary()  # by the engine of a database: tables that were mapped


def take_stock(database: Database, clock: Clock, say: Callable[[str], None]) -> None:
    """Bind what no entry has named yet, before a process does anything else.

    A million rows take a minute, in one transaction. Processes that start meanwhile wait for it here, and not at their
    first write, which gives up after half a minute on SQLite.

    Args:
        say: told a sentence if there is something to do.

    Raises:
        OperationalError: another process held the database for half an hour.
    """
    with database.read() as db:
        if not _missing(db)[0] or not _has_rows(db):  # what a new installation writes first comes first in its ledger
            return
    say("rows of an earlier release are recorded in the ledger, once; a million take a minute or two")
    for left in reversed(range(TRIES)):
        try:
            with database.write() as db:
                find_rows(db, clock.now())
        except OperationalError as error:  # on PostgreSQL a writer waits for the head without a limit
            if not left or "database is locked" not in str(error):
                raise
        else:
            return


def _has_rows(db: Session) -> bool:
    return any(db.scalar(select(1).select_from(table_of(m)).limit(1)) for m in bound_tables().values())


def find_rows(db: Session, now: datetime, *, except_for: Collection[Key] = ()) -> Mapping[str, frozenset[str]]:
    """Bind rows and columns that no entry has named yet as they are found, in the caller's transaction.

    Args:
        except_for: rows that this transaction has added, which are bound as such.

    Returns:
        Columns by table that were found now; empty if the ledger knew all of them.
    """
    bind, mapped = db.get_bind(), len(Base.metadata.tables)  # a process maps more as it imports more
    if _DONE.get(bind) == mapped:
        return {}
    hold_head(db)  # two processes that start at the same moment take stock once
    new, known = _missing(db)
    if new:
        _find(db, new, known, set(except_for), now)
    _DONE[bind] = mapped
    return new


def _missing(db: Session) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Columns by table that no entry has named, and those that entries have.

    Nothing is missing where such an entry cannot be read: what it named would be recorded anew, changed or not. The
    checks of the ledger name the entry.
    """
    wanted = {name: frozenset(c[0] for c in bound_columns(mapper)) for name, mapper in bound_tables().items()}
    try:
        known = named_columns(db)
    except (ValueError, LookupError, TypeError, AttributeError):
        log.warning("the ledger is damaged: an entry of rows that were found cannot be read; `assay verify` names it")
        return {}, {}
    new = {table: columns - known.get(table, frozenset()) for table, columns in wanted.items()}
    return {table: columns for table, columns in new.items() if columns or table not in known}, known


def named_columns(db: Session) -> dict[str, frozenset[str]]:
    """Columns by table that entries have named as bound.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: an entry is not what was appended.
    """
    found: dict[str, frozenset[str]] = {}
    for entry in db.scalars(select(LedgerEntry.entry).where(LedgerEntry.kind == FOUND).order_by(LedgerEntry.index)):
        for table, columns in json.loads(entry)["body"].get("columns", {}).items():
            found[table] = found.get(table, frozenset()) | frozenset(columns)
    return found


def _find(
    db: Session, new: Mapping[str, frozenset[str]], known: Mapping[str, Any], except_for: set[Key], now: datetime
) -> None:
    leaves: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    for table, columns in new.items():
        for key, stored in stored_rows(db, bound_tables()[table]):
            # Of a table that was bound before only the new columns, where one that is not named is null.
            later = {name: value for name, value in stored.items() if name in columns and value is not None}
            values = later if table in known else stored
            if key in except_for or not values:
                continue
            leaves.append(leaf(STATED, key, encode(values)))
            counts[table, STATED] += 1
            if len(leaves) == LEAVES:
                append_leaves(db, FOUND, leaves, {"tables": counted(counts)}, now)
                leaves, counts = [], Counter()
    columns_by_table = {table: sorted(columns) for table, columns in sorted(new.items())}
    append_leaves(db, FOUND, leaves, {"tables": counted(counts), "columns": columns_by_table}, now)

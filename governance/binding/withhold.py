"""Erase what leaves hold of a person: their content goes, their hashes stay, and the rows are stated anew.

An erasure changes or deletes rows, in transactions whose entries name it (`because_of_erasure`). At its end the values
of these rows are stated in one entry, as all entries together say they must be, not as the database holds them: a row
that somebody has changed stays found. Then each earlier leaf of them is replaced by its hash, which keeps its place
under the root that the log has signed.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from governance.binding.check import expected_rows
from governance.binding.entries import append_leaves, binding_entries, counted, leaf
from governance.tables import LedgerBinding
from governance.verify.rows import BOUND, KINDS, REMOVED, RESTATED, STATED, WITHHELD, Key, encode, hash_of, pack, unpack


def mark_quoting(db: Session, erasure: UUID, values: Collection[str], now: datetime) -> None:
    """Name the rows whose leaves, of any time, hold one of these values: they are to be withheld too."""
    sought = [encode(value)[1:-1] for value in values if value]
    found = {
        _key(line): None
        for _, lines in _leaves(db)
        for line in lines
        if not line.startswith(WITHHELD) and any(value in line for value in sought)
    }
    if found:
        body = {"erasure": erasure, "tables": counted(Counter((key[0], STATED) for key in found))}
        append_leaves(db, BOUND, [leaf(STATED, key, "{}") for key in found], body, now)


def withhold(db: Session, erasure: UUID, now: datetime) -> int:
    """Withhold every leaf of the rows that an erasure has touched, in the caller's transaction; returns how many."""
    keys = {_key(line): None for body, lines in _leaves(db) if body.get("erasure") == str(erasure) for line in lines}
    if not keys:
        return 0
    expected = expected_rows(db).rows
    stated = {key: expected[key] for key in keys if key in expected and not expected[key].withheld}
    body = {"erasure": erasure, "tables": counted(Counter((key[0], STATED) for key in stated))}
    leaves = [leaf(STATED, key, state.values) for key, state in stated.items()]
    last = append_leaves(db, RESTATED, leaves, body, now)
    count = 0
    for index, _, _, packed in list(binding_entries(db, KINDS)):
        if index == last or packed is None:
            continue
        lines = unpack(packed)
        kept = [_withheld(line) if _key(line) in keys else line for line in lines]
        if kept != lines:
            count += sum(one != other for one, other in zip(lines, kept, strict=True))
            db.execute(update(LedgerBinding).where(LedgerBinding.entry == index).values(leaves=pack(kept)))
    return count


def _leaves(db: Session) -> Iterator[tuple[dict[str, object], list[str]]]:
    for _, line, _, packed in binding_entries(db, KINDS):
        if packed is not None:
            yield json.loads(line)["body"], unpack(packed)


def _key(line: str) -> Key:
    _, table, ident, _ = line.split(" ", 3)
    return table, ident


def _withheld(line: str) -> str:
    """A leaf without its content. That a row was removed tells nothing of what it held."""
    if line.startswith((WITHHELD, REMOVED)):
        return line
    return leaf(WITHHELD, _key(line), hash_of(line).hex())

"""Find entries of the ledger by kind, subject, actor, time and text, newest first; bounded in time and resumable."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, cast, func, select, type_coerce
from sqlalchemy.orm import Session

from core.canonical import timestamp
from governance.ledger.read import ledger_size
from governance.tables import LedgerEntry

SECONDS: Final = 1.5
CHUNK: Final = 20_000  # entries that one query reads


@dataclass(frozen=True, slots=True)
class EntrySearch:
    """What is asked. `text` is searched in the exact bytes of entries and in their leaf hashes."""

    kind: str | None = None
    subject: str | None = None
    actor: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundEntries:
    """A page of entries, read. `next` is the index before which the search goes on; None at the beginning of the log.

    `reached` is that index where the search stopped at its bound of time before the page was full.
    """

    entries: list[dict[str, Any]]
    next: int | None
    reached: int | None


def find_entries(
    db: Session, asked: EntrySearch, *, before: int | None = None, limit: int = 50,
    subjects: Sequence[str] | None = None, seconds: float = SECONDS, chunk: int = CHUNK,
) -> FoundEntries:  # fmt: skip
    """Entries that fit, newest first.

    Args:
        before: only entries with a smaller index.
        subjects: only entries about one of these; None for all.
    """
    began, size = time.monotonic(), ledger_size(db)
    low, high = 0, size if before is None else min(size, before)
    conditions = _conditions(db, asked, subjects)
    rows: list[LedgerEntry] = []
    while high > low and len(rows) <= limit:
        if time.monotonic() - began > seconds:
            return FoundEntries([_read(row) for row in rows], high, high)
        first, wanted = max(low, high - chunk), limit + 1 - len(rows)
        query = select(LedgerEntry).where(LedgerEntry.index >= first, LedgerEntry.index < high, *conditions)
        found = db.scalars(query.order_by(LedgerEntry.index.desc()).limit(wanted)).all()
        rows += [row for row in found if asked.actor is None or json.loads(row.entry).get("actor") == asked.actor]
        high = found[-1].index if len(found) == wanted else first  # a full part may hold more
    following = rows[limit - 1].index if len(rows) > limit else None
    return FoundEntries([_read(row) for row in rows[:limit]], following, None)


def entry_kinds(db: Session) -> list[str]:
    """Every kind of entry that there is, by name: one look at the index for each, however long the log is."""
    found, last = list[str](), ""
    while (kind := db.scalar(select(func.min(LedgerEntry.kind)).where(LedgerEntry.kind > last))) is not None:
        found.append(kind)
        last = kind
    return found


def _conditions(db: Session, asked: EntrySearch, subjects: Sequence[str] | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.kind:
        found.append(LedgerEntry.kind == asked.kind)
    if asked.subject:
        found.append(LedgerEntry.subject.contains(asked.subject, autoescape=True))
    if asked.actor:
        written = json.dumps(asked.actor, ensure_ascii=False)
        found.append(LedgerEntry.entry.contains(f'"actor":{written}', autoescape=True))
    if asked.text:
        inside = LedgerEntry.entry.icontains(asked.text, autoescape=True)
        found.append(inside | (LedgerEntry.leaf == asked.text.lower()))
    if subjects is not None:
        found.append(LedgerEntry.subject.in_(subjects))
    # Entries stand in the order in which they were added; a clock that was set back leaves their times in another.
    at = _added_at(db)
    found += [at >= timestamp(asked.since)] if asked.since else []
    found += [at < timestamp(asked.until)] if asked.until else []
    return found


def _added_at(db: Session) -> ColumnElement[str]:
    """The time within an entry, as its text: of one width, so that texts compare as times."""
    is_sqlite = db.get_bind().dialect.name == "sqlite"
    document = type_coerce(LedgerEntry.entry, JSON) if is_sqlite else cast(LedgerEntry.entry, JSON)
    found: ColumnElement[str] = document["at"].as_string()
    return found


def _read(row: LedgerEntry) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(row.entry)
    return document | {"leaf": row.leaf}

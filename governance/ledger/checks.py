"""Verifications of the ledger that people asked for from a page: who, when, and what was found."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from governance.tables import LedgerCheck

KEPT: Final = 50
FINDINGS: Final = 50  # listed of one


def checks(db: Session, limit: int = 10) -> Sequence[LedgerCheck]:
    """The newest first."""
    return db.scalars(select(LedgerCheck).order_by(LedgerCheck.asked_at.desc(), LedgerCheck.id).limit(limit)).all()


def ask_check(db: Session, *, actor: str, now: datetime) -> tuple[LedgerCheck, bool]:
    """A verification that waits or runs, or a new one; and whether it is new."""
    under_way = select(LedgerCheck).where(LedgerCheck.state.in_(("queued", "running")))
    if (found := db.scalars(under_way.order_by(LedgerCheck.asked_at)).first()) is not None:
        return found, False
    row = LedgerCheck(asked_by=actor, asked_at=now, state="queued", findings=[], total=0)
    db.add(row)
    db.flush()
    old = db.scalars(select(LedgerCheck.id).order_by(LedgerCheck.asked_at.desc()).offset(KEPT)).all()
    if old:
        db.execute(delete(LedgerCheck).where(LedgerCheck.id.in_(old)))
    return row, True


def begin_check(db: Session, check: UUID, now: datetime) -> bool:
    row = db.get(LedgerCheck, check)
    if row is None:
        return False
    row.state, row.started_at = "running", now
    return True


def end_check(
    db: Session, check: UUID, *, findings: Sequence[str], words: str, entries: int | None, signed: int | None,
    now: datetime,
) -> None:  # fmt: skip
    """Record what was found; `words` says what holds, or why nothing could be said."""
    row = db.get(LedgerCheck, check)
    if row is None:
        return
    row.state = "done" if entries is not None else "failed"
    row.findings, row.total, row.words = list(findings[:FINDINGS]), len(findings), words
    row.entries, row.signed, row.ended_at = entries, signed, now

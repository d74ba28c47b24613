"""Erasure requests: who asked, how far each has got, and its proof. The steps themselves are next to the data.

A subject is never written down: an erasure keeps the keyed digest that the subject's rows carry. The ledger holds
neither, only the id of the erasure and the digest of its proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import queue
from core.errors import ConflictError, NotFoundError
from core.jobs import EraseJob
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import Erasure

FORMAT: Final = "assay-erasure/1"


class ErasureNotFoundError(NotFoundError):
    code = "erasure_not_found"

    def __init__(self, erasure_id: UUID) -> None:
        super().__init__(f"erasure {erasure_id} does not exist", erasure=str(erasure_id))


class ErasureUnderWayError(ConflictError):
    code = "erasure_under_way"


class ErasedError(NotFoundError):
    """The requested item was removed together with a person's rows."""

    code = "erased"


@dataclass(frozen=True, slots=True)
class Case:
    """One erasure in one model."""

    id: UUID
    subject: str
    model: str
    requested_at: datetime


def request(db: Session, *, subject: str, models: Sequence[str], actor: str, now: datetime) -> Erasure:
    """Queue an erasure. An unfinished erasure of the same subject is returned instead, and resumed if it failed.

    Args:
        subject: keyed digest.
        models: names of models that exist; empty for every model.

    Raises:
        ErasureUnderWayError: an unfinished erasure of this subject covers other models.
    """
    row = db.scalars(select(Erasure).where(Erasure.subject == subject, Erasure.state != "done")).first()
    if row is None:
        row = Erasure(
            subject=subject, models=sorted(set(models)), state="queued", steps=[], found={}, requested_entry=0,
            requested_by=actor, requested_at=now,
        )  # fmt: skip
        db.add(row)
        db.flush()
        body = {"erasure": row.id, "models": row.models}
        row.requested_entry = append_entry(
            db, kind="erasure.requested", actor=actor, subject=f"erasure:{row.id}", body=body, at=now
        )
    elif row.models != sorted(set(models)):
        covered = ", ".join(row.models) or "all models"
        raise ErasureUnderWayError(
            f"erasure {row.id} of this subject is {row.state} for {covered}; wait for its end, then ask again",
            erasure=str(row.id), field="models",
        )  # fmt: skip
    if row.state == "failed":
        row.state = "queued"
    key = f"erasure:{row.id}"
    queue.enqueue(db, EraseJob(erasure_id=row.id), now=now, dedupe_key=key, lock_key=key)
    return row


def erasure(db: Session, erasure_id: UUID, *, lock: bool = False) -> Erasure:
    """Raises ErasureNotFoundError."""
    found = db.get(Erasure, erasure_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise ErasureNotFoundError(erasure_id)
    return found


def erasures(db: Session, *, limit: int = 100) -> Sequence[Erasure]:
    """Newest first."""
    return db.scalars(select(Erasure).order_by(Erasure.requested_at.desc(), Erasure.id).limit(limit)).all()


def completed_since(db: Session, since: datetime) -> Sequence[Erasure]:
    """Erasures of any model that were completed since a time, in order."""
    return db.scalars(select(Erasure).where(Erasure.completed_at >= since).order_by(Erasure.completed_at)).all()


# --- facts that the steps keep for one another, and for themselves after a crash --------------------------------------


def remember(db: Session, case: Case, what: str, values: Mapping[str, Any]) -> None:
    """Keep facts about rows before they are deleted: a later step, or this one after a crash, cannot read them."""
    row = erasure(db, case.id, lock=True)
    kept = dict(row.found or {})
    mine = dict(kept.get(case.model, {}))
    mine[what] = {**mine.get(what, {}), **values}
    row.found = {**kept, case.model: mine}


def remembered(db: Session, case: Case, what: str) -> dict[str, Any]:
    found: dict[str, Any] = (erasure(db, case.id).found or {}).get(case.model, {}).get(what, {})
    return found


def record_proof(db: Session, erasure_id: UUID, *, proof: str, facts: Mapping[str, Any], now: datetime) -> Erasure:
    """Write the ledger entry of a proof in the caller's transaction, and drop the facts that the steps kept.

    The erasure is not shown as done before a checkpoint covers this entry, which must be committed to be signed.
    """
    row = erasure(db, erasure_id, lock=True)
    row.proof, row.found = proof, None
    row.done_entry = append_entry(
        db, kind="erasure.done", actor=SYSTEM_ACTOR, subject=f"erasure:{row.id}", at=now,
        body={"erasure": row.id, "requested": row.requested_entry, "proof": proof, **facts},
    )  # fmt: skip
    return row


def complete(db: Session, erasure_id: UUID, *, now: datetime) -> Erasure:
    """Record the end in the caller's transaction, which issues the checkpoint that covers the proof's entry."""
    row = erasure(db, erasure_id, lock=True)
    row.state, row.error, row.completed_at = "done", None, now
    return row

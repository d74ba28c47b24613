"""Changes that wait until people agree to them. Who agreed is read from the ledger, never from a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import ConflictError, IntegrityFailureError, NotFoundError
from governance.access.roles import Permission
from governance.access.signers import Signer, signer, signer_line
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_entries
from governance.policy.approvals import LASTS, check_other_person, expired, lost_right, people
from governance.policy.reasons import read_reason
from governance.tables import ChangeRequest

ASKED: Final = "change.asked"
APPROVED: Final = "change.approved"
REJECTED: Final = "change.rejected"


class ChangeNotFoundError(NotFoundError):
    code = "change_not_found"


class ChangeStateError(ConflictError):
    code = "change_state"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who asked for a change, and who agreed; those who count no more are left out."""

    asked_by: Signer
    by: tuple[Signer, ...]
    void: tuple[str, ...]

    @property
    def given(self) -> int:
        return people(self.by)


def ask(
    db: Session, model: str, document: Mapping[str, Any], base: str, loosened: Sequence[Mapping[str, Any]], who: Signer,
    *, needed: int, now: datetime,
) -> ChangeRequest:  # fmt: skip
    """Keep a change until people agree to it; the same change is asked for once."""
    content = digest(document)
    for other in waiting(db, model):
        same = (other.digest, other.base) == (content, base) and now < other.expires_at
        if same and _asked(other, _entries(db, other)) is not None:
            return other
        other.state, other.decided_at = "outdated", now
    ident = uuid4()
    body = {
        "by": signer_line(who), "digest": content, "base": base, "needed": needed, "expires_at": now + LASTS,
        "loosened": [{"field": one["field"], "why": one["why"]} for one in loosened], "model": model,
    }  # fmt: skip
    entry = append_entry(db, kind=ASKED, actor=who.actor, subject=f"change:{ident}", body=body, at=now)
    row = ChangeRequest(
        id=ident, model=model, digest=content, base=base, document=dict(document), loosened=list(loosened),
        needed=needed, asked_by=who.actor, asked_entry=entry, asked_at=now, expires_at=now + LASTS, state="waiting",
    )  # fmt: skip
    db.add(row)
    db.flush()
    return row


def change(db: Session, model: str, change_id: UUID, *, lock: bool = False) -> ChangeRequest:
    """Raises ChangeNotFoundError."""
    row = db.get(ChangeRequest, change_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.model != model:
        raise ChangeNotFoundError(f"model {model} has no change {change_id}; `assay changes list {model}` shows them")
    return row


def changes(db: Session, model: str) -> Sequence[ChangeRequest]:
    """Newest first."""
    query = select(ChangeRequest).where(ChangeRequest.model == model).order_by(ChangeRequest.asked_at.desc())
    return db.scalars(query).all()


def waiting(db: Session, model: str) -> Sequence[ChangeRequest]:
    return [row for row in changes(db, model) if row.state == "waiting"]


def agreement(db: Session, row: ChangeRequest, now: datetime) -> Agreement:
    """Who agreed to what this row holds, as the ledger says.

    Raises:
        IntegrityFailureError: the row holds another change than the one that was asked for, or waits after it was
            rejected.
    """
    entries = _entries(db, row)
    asked = _asked(row, entries)
    if asked is None:
        raise IntegrityFailureError(
            f"change {row.id} of {row.model} is not the one that was asked for: its row was changed outside Assay; "
            "apply the spec again",
            change=str(row.id),
        )
    by, void = [], []
    for entry in entries:
        if entry["kind"] != APPROVED or entry["body"]["digest"] != row.digest:
            continue
        who = _who(db, entry["body"]["by"])
        if reason := _why_not(db, who, row.model, datetime.fromisoformat(entry["at"]), now):
            void.append(f"{who.named}: {reason}")
        else:
            by.append(who)
    return Agreement(_who(db, asked["by"]), tuple(by), tuple(void))


def approve(db: Session, row: ChangeRequest, who: Signer, reason: str, now: datetime, *, base: str) -> bool:
    """Record that somebody agrees; True once enough people do, and then the caller applies the change.

    Args:
        base: digest of the spec in force.

    Raises:
        InvalidError: the reason is empty or too long.
        ChangeStateError: it does not wait any more, has expired, or the spec in force is another one.
        ApprovalRefusedError: this person asked for it or agreed already, or is not known by name.
    """
    _check_waits(row, now)
    if row.base != base:
        raise ChangeStateError(
            f"the spec of {row.model} has changed since change {row.id} was asked for; apply the spec again",
            change=str(row.id), state="outdated",
        )  # fmt: skip
    found = agreement(db, row, now)
    check_other_person(who, found.asked_by, found.by, did=f"asked for change {row.id}", may="approve it")
    given = people((*found.by, who))
    body = {
        "by": signer_line(who), "reason": read_reason(reason), "digest": row.digest, "base": row.base,
        "given": given, "needed": row.needed, "model": row.model,
    }  # fmt: skip
    append_entry(db, kind=APPROVED, actor=who.actor, subject=f"change:{row.id}", body=body, at=now)
    if given < row.needed:
        return False
    row.state, row.decided_at = "applied", now
    return True


def reject(db: Session, row: ChangeRequest, who: Signer, reason: str, now: datetime) -> None:
    """Raises ChangeStateError, InvalidError."""
    _check_waits(row, now)
    body = {"by": signer_line(who), "reason": read_reason(reason), "digest": row.digest, "model": row.model}
    append_entry(db, kind=REJECTED, actor=who.actor, subject=f"change:{row.id}", body=body, at=now)
    row.state, row.decided_at = "rejected", now


def _check_waits(row: ChangeRequest, now: datetime) -> None:
    if row.state != "waiting":
        raise ChangeStateError(
            f"change {row.id} is {row.state}; only one that waits can be decided", change=str(row.id), state=row.state
        )
    if now >= row.expires_at:
        raise ChangeStateError(
            f"change {row.id} expired on {row.expires_at:%Y-%m-%d %H:%M} UTC; apply the spec again",
            change=str(row.id), state="expired",
        )  # fmt: skip


def _entries(db: Session, row: ChangeRequest) -> list[dict[str, Any]]:
    return ledger_entries(db, (ASKED, APPROVED, REJECTED), f"change:{row.id}")


def _asked(row: ChangeRequest, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What was asked for; None where the row says otherwise, or waits after it was rejected."""
    asked: Mapping[str, Any] | None = next((e["body"] for e in entries if e["kind"] == ASKED), None)
    back = row.state == "waiting" and any(e["kind"] == REJECTED for e in entries)
    if asked is None or back:
        return None
    here = (digest(row.document), row.digest, row.base, row.needed, row.expires_at)
    said = (asked["digest"], asked["digest"], asked["base"], asked["needed"])
    return asked if here == (*said, datetime.fromisoformat(asked["expires_at"])) else None


def _why_not(db: Session, who: Signer, model: str, at: datetime, now: datetime) -> str | None:
    if who.revoked:
        return f"{who.named} was revoked; approve again with another key"
    return lost_right(db, who, Permission.RUN_APPROVE, model) or expired(at, now)


def _who(db: Session, line: Mapping[str, Any]) -> Signer:
    return signer(db, line["actor"], line.get("key"), line.get("owner"))

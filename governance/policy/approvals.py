"""What every approval is held to, whatever it is about: people count, rights are looked at again, time runs out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from core.errors import ConflictError
from governance.access.rights import rights_of
from governance.access.roles import PERMISSIONS, Permission, Role
from governance.access.signers import Signer

LASTS: Final = timedelta(days=30)  # an approval, an attestation, and a change that waits


class ApprovalRefusedError(ConflictError):
    code = "approval_refused"


def people(signers: Sequence[Signer]) -> int:
    """How many people these are; two with a mark in common are one, and one whose key was revoked does not count."""
    groups: list[frozenset[str]] = []
    for one in signers:
        if one.revoked or not one.owners:
            continue
        same = [g for g in groups if g & one.marks]
        groups = [g for g in groups if g not in same] + [one.marks.union(*same)]
    return len(groups)


def check_other_person(who: Signer, first: Signer, agreed: Sequence[Signer], *, did: str, may: str) -> None:
    """Agreement takes somebody who is known by name, is not the one it is about, and has not agreed yet.

    Args:
        first: the one whose act it is about.
        did, may: what that one did, and what is refused, as the message says it.

    Raises:
        ApprovalRefusedError.
    """
    declare = "an admin declares who holds it: assay keys own"
    if not who.owners:
        why = f"{who.named} has no declared owner, and approvals count people; {declare} {who.key} --owner NAME"
    elif not first.owners:
        why = (
            f"{first.named} {did} and has no declared owner, so anybody might be that person; {declare} {first.key} "
            "--owner NAME"
        )
    elif who.marks & first.marks:
        why = f"{who.named} {did} and may not {may}; ask somebody else"
    elif same := next((one for one in agreed if one.marks & who.marks), None):
        why = f"{who.named} has agreed already, as {same.named}; a different person is needed"
    else:
        return
    raise ApprovalRefusedError(why, actor=who.actor)


def lost_right(db: Session, who: Signer, permission: Permission, model: str) -> str | None:
    """Why somebody may not do now what an approval needs; None while they may. Rights are those of the ledger."""
    state = rights_of(db).named(who.actor)
    if state is None:
        return None  # approved before keys had owners, or by a name from outside
    if permission not in PERMISSIONS[Role(state.role)]:
        return f"{who.named} has the role {state.role} now, which lacks {permission.value}"
    if state.models is not None and model not in state.models:
        return f"{who.named} is not for {model} any more"
    return None


def expired(at: datetime, now: datetime) -> str | None:
    """Why an approval given then counts no more; None while it does."""
    if now < at + LASTS:
        return None
    return f"was given on {at:%Y-%m-%d %H:%M} UTC, and an approval lasts {LASTS.days} days; approve again"

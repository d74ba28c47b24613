"""What every approval is held to, whatever it is about: people count, rights are looked at again, time runs out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from governance.access.rights import rights_of
from governance.access.roles import PERMISSIONS, Permission, Role
from governance.access.signers import Signer

LASTS: Final = timedelta(days=30)  # an approval, an attestation, and a change that waits


def people(signers: Sequence[Signer]) -> int:
    """How many people these are; two with a mark in common are one, and one whose key was revoked does not count."""
    groups: list[frozenset[str]] = []
    for one in signers:
        if one.revoked or not one.owners:
            continue
        same = [g for g in groups if g & one.marks]
        groups = [g for g in groups if g not in same] + [one.marks.union(*same)]
    return len(groups)


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

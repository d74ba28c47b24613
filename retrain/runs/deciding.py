"""Why a person may not approve, attest or reject a run: asked before a button is shown, and again when it is used."""

from sqlalchemy.orm import Session

from governance.access.api_keys import key_named
from governance.access.roles import Caller
from governance.access.signers import Signer, signer
from retrain.registry.standing import Standing
from retrain.tables import Run


def unnamed(db: Session, caller: Caller, who: Signer) -> str | None:
    """Why a caller is nobody who could be counted; the keys as they are now, and not as the request was let in."""
    row = key_named(db, caller.name)
    if row is not None and row.revoked_at is not None:
        return f"key {caller.name} was revoked; approve with another key"
    if who.owners:
        return None
    return (
        f"key {caller.name} has no declared owner, and approvals count people; an admin declares who holds it: "
        f"assay keys own {caller.prefix} --owner NAME"
    )


def approval_refused(run: Run, found: Standing, who: Signer) -> str | None:
    """Why this person's approval of a waiting run is refused; None while it would be taken."""
    if found.nameless_starter is not None:
        return f"nobody may approve run {run.id} yet: {found.nameless_starter}"
    if found.starter is not None and who.marks & found.starter.marks:
        return f"{who.named} started run {run.id} and may not approve it; ask somebody else"
    if run.outside:
        return None
    if same := _same(who, found.counted.by):
        return f"{who.named} has approved run {run.id} already, as {same.named}; a different person is needed"
    if same := _same(who, found.attested.by):
        return f"{who.named} has attested run {run.id}, as {same.named}; a different person approves it"
    return None


def attestation_refused(run: Run, found: Standing, who: Signer) -> str | None:
    """Why this person's statement about the candidate of a waiting run is refused; None while it would be taken."""
    if run.outside:
        return f"run {run.id} is outside its limits and has no candidate to attest yet"
    if found.nameless_starter is not None:
        return f"nobody may attest run {run.id} yet: {found.nameless_starter}"
    others = [("started", found.starter)] if found.starter is not None else []
    others += [("approved", s) for s in found.counted.by]
    others += [("attested", s) for s in found.attested.by]
    for did, other in others:
        if who.marks & other.marks:
            return (
                f"{who.named} {did} run {run.id} as {other.named} and may not attest it; a validator is another person"
            )
    return None


def person_of(db: Session, caller: Caller) -> Signer:
    return signer(db, caller.name, caller.prefix, caller.owner)


def _same(who: Signer, others: tuple[Signer, ...]) -> Signer | None:
    return next((other for other in others if other.marks & who.marks), None)

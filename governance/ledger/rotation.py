"""Change the key that signs the ledger, as an entry that a verifier follows."""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from core.errors import InvalidError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.checkpointing import provable_head, signed_head
from governance.ledger.extends import Places
from governance.ledger.log_key import documents_key_of_log, key_of_log
from governance.ledger.read import ledger_entries
from governance.proof.vkey import NoteSigner, VerifierKey
from governance.verify.origins import CONTINUES, DOCUMENTS_KIND, RECOVERS, RECOVERY_KIND, ROTATED_KIND

SUBJECT: Final = "ledger"
REASON_LENGTH: Final = 500


def record_rotation(
    db: Session,
    *,
    before: str,
    after: str,
    by: NoteSigner,
    places: Places,
    reason: str,
    revoked_from: int | None,
    now: datetime,
) -> int:
    """Add the entry from which on `after` signs the log; returns its index.

    Args:
        before: the public key that signs the log now.
        by: the key before, or a recovery key that the log names.
        revoked_from: the entry from which on the key before counts as compromised.

    Raises:
        InvalidError: the log is empty, the keys are the same or of different names, or there is no such entry.
        IntegrityFailureError: the entries do not extend the last checkpoint, or the signer refuses.
    """
    old, new = VerifierKey.parse(before), VerifierKey.parse(after)
    if old == new:
        raise InvalidError(f"{new.label} signs this ledger already; nothing was changed", field="key", value=after)
    if old.name != new.name:
        raise InvalidError(
            f"the new key signs for {new.name!r}, and this ledger is {old.name!r}; make a key of that name",
            field="key", value=after,
        )  # fmt: skip
    size, root = provable_head(db, places, (before, after, by.vkey))
    if size == 0:
        raise InvalidError("the ledger is empty; a key that has signed nothing needs no rotation")
    if revoked_from is not None and not 0 <= revoked_from <= size:
        raise InvalidError(
            f"entry {revoked_from} does not exist; the ledger has {size} entries", field="--compromised-from",
            value=revoked_from,
        )  # fmt: skip
    if by.vkey != before and not _may_recover(db, by.vkey, size if revoked_from is None else revoked_from):
        raise InvalidError(
            f"the ledger names no such recovery key as {by.verifier.label} before the key counts as compromised; name "
            "one with `assay ledger recovery-key` while the key is sound", field="--recovery-key", value=by.vkey,
        )  # fmt: skip
    note = signed_head(db, by, old.name, size, root, now, (f"{CONTINUES}{new}",))
    body = {
        "before": before, "after": after, "by": by.vkey, "checkpoint": note, "reason": reason[:REASON_LENGTH],
        "revoked_from": revoked_from,
    }  # fmt: skip
    return append_entry(db, kind=ROTATED_KIND, actor=SYSTEM_ACTOR, subject=SUBJECT, body=body, at=now)


def _may_recover(db: Session, vkey: str, until: int) -> bool:
    return any(e["body"]["key"] == vkey and e["index"] < until for e in ledger_entries(db, (RECOVERY_KIND,)))


def name_recovery_key(db: Session, *, key: NoteSigner, places: Places, recovery: str, now: datetime) -> int:
    """Add the entry that lets another key sign the next rotation; returns its index."""
    named = VerifierKey.parse(recovery)
    if str(named) == key.vkey:
        raise InvalidError("the key that signs the ledger cannot be its own recovery key; make another", field="key")
    size, root = provable_head(db, places, (key.vkey,))
    if size == 0:
        raise InvalidError("the ledger is empty; start the service once")
    note = signed_head(db, key, key.name, size, root, now, (f"{RECOVERS}{named}",))
    body = {"key": recovery, "by": key.vkey, "checkpoint": note}
    return append_entry(db, kind=RECOVERY_KIND, actor=SYSTEM_ACTOR, subject=SUBJECT, body=body, at=now)


def name_documents_key(db: Session, *, signing: NoteSigner, documents: NoteSigner, now: datetime) -> None:
    """Say in the log which key signs bundles and champions, once, where it is not the ledger's own."""
    if documents is not signing and documents_key_of_log(db) != documents.vkey:
        body = {"vkey": documents.vkey}
        append_entry(db, kind=DOCUMENTS_KIND, actor=SYSTEM_ACTOR, subject=SUBJECT, body=body, at=now)


def present_key(db: Session, published: str) -> str:
    """The key that signs the log now: the one that it names, or else the one that the home folder publishes."""
    return key_of_log(db) or published

"""The key that a log goes on under, as the log itself says; nothing is signed with another."""

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.read import ledger_entries, stored_bytes
from governance.ledger.signers.base import LedgerSigner, SignerDiffersError
from governance.proof.note import claimed_signers
from governance.proof.vkey import NoteSigner, SigningKey
from governance.tables import LedgerCheckpoint, LedgerEntry
from governance.verify.origins import DOCUMENTS_KIND, ORIGIN_KIND, ROTATED_KIND

_CHANGES: Final = (ORIGIN_KIND, ROTATED_KIND)


def key_of_log(db: Session) -> str | None:
    """The public key that the last change of the log's key names; None if it never changed."""
    entry = _newest(db, _CHANGES)
    return None if entry is None else str(entry["body"]["after"])


def require_log_key(db: Session, key: NoteSigner) -> None:
    """Let only the key sign that the log goes on under; a rotation that was recorded takes effect here.

    Raises:
        SignerDiffersError: it is another one.
    """
    named = key_of_log(db)
    if named == key.vkey:
        return
    if named is not None and not isinstance(key, SigningKey) and _goes_on(key, named):
        return
    if named is None:
        note = db.scalar(select(LedgerCheckpoint.note).order_by(LedgerCheckpoint.size.desc()).limit(1))
        claimed = () if note is None else claimed_signers(stored_bytes(note).decode(errors="replace"))
        if not claimed or key.verifier.label in claimed:
            return
        named = ", ".join(claimed)
    raise SignerDiffersError(
        f"this ledger goes on under {named}, and the configured signer has {key.vkey}; nothing was signed. Hand it "
        "over with `assay ledger rotate`, or configure the signer that has the key", signer=key.vkey, named=named,
    )  # fmt: skip


def revoked_keys(db: Session) -> Sequence[dict[str, Any]]:
    """Keys that a rotation declared compromised: `vkey`, `from_entry`, `at`."""
    return [
        {"vkey": entry["body"]["before"], "from_entry": entry["body"]["revoked_from"], "at": entry["at"]}
        for entry in ledger_entries(db, (ROTATED_KIND,))
        if entry["body"].get("revoked_from") is not None
    ]


def documents_key_of_log(db: Session, size: int | None = None) -> str | None:
    """The key of bundles and champions that the log names, where the ledger's own signs checkpoints alone.

    `size` looks at the first entries only: what no checkpoint covers, whoever writes the database can have added.
    """
    entry = _newest(db, (DOCUMENTS_KIND,), size)
    return None if entry is None else str(entry["body"]["vkey"])


def _goes_on(key: NoteSigner, named: str) -> bool:
    signer: LedgerSigner = key  # type: ignore[assignment]  # all but a plain key, which tests use
    return signer.go_on(named)


def _newest(db: Session, kinds: Sequence[str], size: int | None = None) -> dict[str, Any] | None:
    query = select(LedgerEntry.entry).where(LedgerEntry.kind.in_(kinds)).order_by(LedgerEntry.index.desc()).limit(1)
    entry = db.scalar(query if size is None else query.where(LedgerEntry.index < size))
    return None if entry is None else json.loads(stored_bytes(entry))

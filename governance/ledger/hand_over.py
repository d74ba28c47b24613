"""Hand the ledger over to another key, on the machine of the installation; the service may run meanwhile.

The new key is ready before the entry is committed, and takes effect after it: a process that dies in between finds the
new key named by the log, and goes on with it (`governance.ledger.log_key`).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.db import Database
from core.errors import InvalidError
from core.settings_signer import SignerSettings
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import Places
from governance.ledger.keys import Keys, earlier_vkeys, load_or_create, signer_of
from governance.ledger.rotation import present_key, record_rotation
from governance.ledger.signers.base import LedgerSigner
from governance.ledger.signers.file import NEXT, FileSigner, read_key
from governance.ledger.signers.remote import RemoteSigner
from governance.ledger.signers.token import TokenSigner
from governance.proof.vkey import NoteSigner, SigningKey, VerifierKey


@dataclass(frozen=True)
class HandedOver:
    """The entry of a rotation, and the keys before and after it."""

    index: int
    before: str
    after: str
    keys: Keys


def hand_over(
    database: Database, *, home: Path, origin: str, signer: SignerSettings, places: Places, recovery: Path | None,
    label: str | None, reason: str, revoked_from: int | None, now: datetime,
) -> HandedOver:  # fmt: skip
    """Rotate the key that signs the ledger, to a new one of the configured kind, and sign with it.

    Args:
        signer: where the new key lies, or is made.
        recovery: file of the recovery key that signs the change; None if the key before does.
        label: of the new key pair in a token, where the old one is in it too.
        revoked_from: the entry from which on the key before counts as compromised.
    """
    published = home / "keys" / "ledger.vkey"
    if not published.exists():
        raise InvalidError(f"{home} holds no installation; give its folder with --home", field="home", value=str(home))
    with database.read() as db:
        before = present_key(db, published.read_text().strip())
    by: NoteSigner = read_key(recovery) if recovery is not None else _old_signer(signer, home, origin, before)
    after = _new_key(signer, home, origin, before, label)
    with database.write() as db:
        index = record_rotation(
            db, before=before, after=after, by=by, places=places, reason=reason, revoked_from=revoked_from, now=now
        )
    if label is not None:
        signer = signer.model_copy(update={"label": label})
    new = signer_of(signer, home, origin)
    if not new.go_on(after):
        raise InvalidError(f"the signer does not have {after} any more, which entry {index} names", field="signer")
    if signer.kind != "file":
        (home / "keys" / "ledger.key").unlink(missing_ok=True)  # it has signed its last, and the service can read it
    keys = load_or_create(home, origin, signer)
    with database.write() as db:
        issue_checkpoint(db, key=keys.signing, places=places, earlier=earlier_vkeys(home), now=now)
    return HandedOver(index, before, after, keys)


def _old_signer(signer: SignerSettings, home: Path, origin: str, before: str) -> LedgerSigner:
    """The signer of the key before: in the home folder, or where the settings say."""
    if (home / "keys" / "ledger.key").exists() and read_key(home / "keys" / "ledger.key").vkey == before:
        return FileSigner(home / "keys")
    others = [signer] if signer.kind != "file" else []
    if signer.kind != "pkcs11" and signer.module is not None and signer.token is not None:
        others.append(signer.model_copy(update={"kind": "pkcs11"}))
    if signer.kind != "process" and signer.address is not None:
        others.append(signer.model_copy(update={"kind": "process"}))
    for one in others:
        found = signer_of(one, home, origin)
        if isinstance(found, TokenSigner) and str(found.present()) == before:
            return found
        if isinstance(found, RemoteSigner) and found.keys()[0] == before:
            return found
    raise InvalidError(
        f"the key that signs now, {VerifierKey.parse(before).label}, is neither in {home / 'keys'} nor where "
        "ASSAY_SIGNER__ leads; configure it too, or sign the change with --recovery-key FILE", field="signer",
    )  # fmt: skip


def _new_key(signer: SignerSettings, home: Path, origin: str, before: str, label: str | None) -> str:
    name = VerifierKey.parse(before).name
    if signer.kind == "file":
        folder = home / "keys"
        if not (folder / NEXT).exists():  # left by a rotation that was not recorded
            FileSigner(folder).prepare(SigningKey.generate(name))
        return read_key(folder / NEXT).vkey
    found = signer_of(signer.model_copy(update={"label": label}) if label is not None else signer, home, origin)
    if isinstance(found, TokenSigner):
        if label is not None:
            found.generate()
        if (present := str(found.present())) == before:
            raise InvalidError(
                f"the key {signer.label!r} of the token signs this ledger already; give the new one a label: "
                "assay ledger rotate --label NEW", field="--label",
            )  # fmt: skip
        return present
    assert isinstance(found, RemoteSigner)
    first, ready = found.keys()
    if first != before:
        return first
    if ready is None:
        raise InvalidError(
            "the signer has no next key ready; run `assay signer --keys DIR --prepare-next` where it runs",
            field="signer",
        )
    return ready

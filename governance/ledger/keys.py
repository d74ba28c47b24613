"""The installation's own secrets: ledger signing key, subject digest key, page session key."""

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.artifacts import fsync_folder, write_durably
from core.errors import IntegrityFailureError, InvalidError
from core.settings_signer import SignerSettings
from governance.ledger.signers.base import LedgerSigner
from governance.ledger.signers.file import EARLIER, FileSigner, publish, read_key
from governance.ledger.signers.remote import RemoteSigner
from governance.ledger.signers.token import TokenSigner
from governance.proof.vkey import NoteSigner, SigningKey, VerifierKey

_COPY: Final = re.compile(r"/copy-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Keys:
    signing: LedgerSigner = field(repr=False)  # of checkpoints
    documents: NoteSigner = field(repr=False)  # of bundles and champions; the same, unless a process signs checkpoints
    subject: bytes = field(repr=False)  # HMAC key: equal subjects stay joinable, unreadable without it
    session: bytes = field(repr=False)  # HMAC key of page session cookies

    @property
    def vkey(self) -> str:
        """The public form of the key that signs the ledger. Verifiers keep it."""
        return self.signing.vkey


def load_or_create(home: Path, origin: str, signer: SignerSettings | None = None) -> Keys:
    """Read the keys under `home/keys`; the first call creates them with mode 0600.

    Args:
        signer: where the key of the ledger lies; None means in a file there.

    Raises:
        IntegrityFailureError: a key is damaged, is gone, or was made for another origin.
        InvalidError: the key lies elsewhere and in the home folder too, or a token refuses.
        SignerUnreachableError: a token or signer process does not answer the first time that it is asked for its key.
    """
    signer = signer or SignerSettings()
    folder = home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The ledger key is created last: where it exists, the others have existed.
    if (folder / "ledger.key").exists() and not (folder / "subject.key").exists():
        raise IntegrityFailureError(
            f"{folder / 'subject.key'} is gone; restore it from a backup: with another key the digests of subjects "
            "stored so far would match nobody", field="subject.key",
        )  # fmt: skip
    subject = bytes.fromhex(_secret(folder / "subject.key", lambda: secrets.token_hex(32)))
    session = session_key(home)
    documents: NoteSigner | None = None
    if signer.kind == "file":
        _first_key(folder, origin)
        read_key(folder / "ledger.key")
    elif (folder / "ledger.key").exists():
        raise InvalidError(
            f"signer.kind is {signer.kind}, and {folder / 'ledger.key'} is a key that the service can read; hand the "
            "ledger over to the new key with `assay ledger rotate`, or move this one to the signer",
            field="signer.kind", value=signer.kind,
        )  # fmt: skip
    signing = signer_of(signer, home, origin)
    if signer.kind == "process":
        name = f"{signing.name}/documents"
        documents = SigningKey.parse(_secret(folder / "documents.key", lambda: SigningKey.generate(name).secret()))
    if origin not in (signing.name, _COPY.sub("", signing.name)):
        raise IntegrityFailureError(
            f"the key of {folder} signs for {signing.name!r}, but ledger.origin is {origin!r}; "
            "set ASSAY_LEDGER__ORIGIN back, a log cannot change its name",
            field="ledger.origin", value=origin,
        )  # fmt: skip
    if not (folder / "ledger.vkey").exists():
        publish(folder, signing.vkey)
    return Keys(signing=signing, documents=documents or signing, subject=subject, session=session)


def session_key(home: Path) -> bytes:
    """The key that sessions are sealed with; made where there is none."""
    return bytes.fromhex(_secret(home / "keys" / "session.key", lambda: secrets.token_hex(32)))


def signer_of(signer: SignerSettings, home: Path, origin: str) -> LedgerSigner:
    """What signs the ledger, as the settings say. Nothing is asked yet.

    origin: the name of a log that has none yet.
    """
    public = home / "keys" / "ledger.vkey"
    if signer.kind == "pkcs11":
        assert signer.module is not None
        assert signer.token is not None
        name = VerifierKey.parse(public.read_text().strip()).name if public.exists() else origin
        return TokenSigner(signer.module, signer.token, signer.label, _pin(signer), origin=name, public=public)
    if signer.kind == "process":
        assert signer.address is not None
        return RemoteSigner(signer.address, signer.token_file, signer.timeout_s, public)
    return FileSigner(home / "keys")


def _pin(signer: SignerSettings) -> str:
    if signer.pin is not None:
        return signer.pin.get_secret_value()
    assert signer.pin_file is not None
    try:
        return signer.pin_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidError(
            f"signer.pin_file {signer.pin_file} cannot be read: {reason}", field="signer.pin_file"
        ) from None


def _first_key(folder: Path, origin: str) -> None:
    if (folder / "ledger.vkey").exists() and not (folder / "ledger.key").exists():
        raise IntegrityFailureError(
            f"{folder / 'ledger.key'} is gone; restore it from a backup, or hand the ledger over with a recovery "
            "key: assay ledger rotate --recovery-key FILE", field="ledger.key",
        )  # fmt: skip
    _secret(folder / "ledger.key", lambda: SigningKey.generate(origin).secret())


def next_origin(origin: str, configured: str) -> str:
    """The origin of a copy: the one that the settings give it, or the original's with a mark of its own."""
    plain = _COPY.sub("", origin)
    return configured if configured not in (origin, plain) else f"{plain}/copy-{secrets.token_hex(4)}"


def replace_signing(home: Path, old: SigningKey, new: SigningKey) -> None:
    """Sign with another key from now on; the old public key stays, because it has signed what is there."""
    folder = home / "keys"
    publish(folder, old.vkey)
    write_durably(folder / "ledger.key", (new.secret() + "\n").encode(), mode=0o600)
    publish(folder, new.vkey)


def earlier_vkeys(home: Path) -> list[str]:
    """Public keys that signed this ledger before it became that of a copy, or before its key was rotated."""
    path = home / "keys" / EARLIER
    return path.read_text().split() if path.exists() else []


def _secret(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        write_durably(draft, (make() + "\n").encode(), mode=0o600)
        # A hard link appears whole or not at all, and only once: of two processes that start together one makes the
        # key and both read it.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        fsync_folder(path.parent)
    return path.read_text().strip()

"""The installation's own secrets: ledger signing key, subject digest key, page session key."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.artifacts import fsync_folder, write_durably
from core.errors import IntegrityFailureError
from governance.proof.vkey import KeyFormatError, SigningKey


@dataclass(frozen=True)
class Keys:
    signing: SigningKey = field(repr=False)
    subject: bytes = field(repr=False)  # HMAC key: equal subjects stay joinable, unreadable without it
    session: bytes = field(repr=False)  # HMAC key of page session cookies

    @property
    def vkey(self) -> str:
        """The public form of the signing key. Verifiers keep it."""
        return self.signing.vkey


def load_or_create(home: Path, origin: str) -> Keys:
    """Read the keys under `home/keys`; the first call creates them with mode 0600.

    Raises:
        IntegrityFailureError: a key is damaged, is gone, or was made for another origin.
    """
    folder = home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The ledger key is created last: where it exists, the others have existed.
    if (folder / "ledger.key").exists() and not (folder / "subject.key").exists():
        raise IntegrityFailureError(
            f"{folder / 'subject.key'} is gone; restore it from a backup: with another key the digests of subjects "
            "stored so far would match nobody", field="subject.key",
        )  # fmt: skip
    subject = bytes.fromhex(_secret(folder / "subject.key", lambda: secrets.token_hex(32)))
    session = bytes.fromhex(_secret(folder / "session.key", lambda: secrets.token_hex(32)))
    try:
        signing = SigningKey.parse(_secret(folder / "ledger.key", lambda: SigningKey.generate(origin).secret()))
    except KeyFormatError as error:
        raise IntegrityFailureError(
            f"{folder / 'ledger.key'} is damaged: {error.message}; restore it from a backup", field="ledger.key"
        ) from error
    if signing.name != origin:
        raise IntegrityFailureError(
            f"{folder / 'ledger.key'} signs for {signing.name!r}, but ledger.origin is {origin!r}; "
            "set ASSAY_LEDGER__ORIGIN back, a log cannot change its name",
            field="ledger.origin", value=origin,
        )  # fmt: skip
    anchor = folder / "ledger.vkey"
    if not anchor.exists():
        write_durably(anchor, (signing.vkey + "\n").encode())
    return Keys(signing=signing, subject=subject, session=session)


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

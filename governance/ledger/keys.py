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
from core.errors import IntegrityFailureError
from governance.proof.vkey import KeyFormatError, SigningKey

EARLIER: Final = "earlier.vkeys"
_COPY: Final = re.compile(r"/copy-[0-9a-f]{8}$")


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
    _secret(folder / "ledger.key", lambda: SigningKey.generate(origin).secret())
    signing = read_signing(home)
    if origin not in (signing.name, _COPY.sub("", signing.name)):
        raise IntegrityFailureError(
            f"{folder / 'ledger.key'} signs for {signing.name!r}, but ledger.origin is {origin!r}; "
            "set ASSAY_LEDGER__ORIGIN back, a log cannot change its name",
            field="ledger.origin", value=origin,
        )  # fmt: skip
    anchor = folder / "ledger.vkey"
    if not anchor.exists():
        write_durably(anchor, (signing.vkey + "\n").encode())
    return Keys(signing=signing, subject=subject, session=session)


def read_signing(home: Path) -> SigningKey:
    """The key that signs the ledger.

    Raises:
        IntegrityFailureError: it is damaged.
    """
    path = home / "keys" / "ledger.key"
    try:
        return SigningKey.parse(path.read_text().strip())
    except KeyFormatError as error:
        raise IntegrityFailureError(
            f"{path} is damaged: {error.message}; restore it from a backup", field="ledger.key"
        ) from error


def next_origin(origin: str, configured: str) -> str:
    """The origin of a copy: the one that the settings give it, or the original's with a mark of its own."""
    plain = _COPY.sub("", origin)
    return configured if configured not in (origin, plain) else f"{plain}/copy-{secrets.token_hex(4)}"


def replace_signing(home: Path, old: SigningKey, new: SigningKey) -> None:
    """Sign with another key from now on; the old public key stays, because it has signed what is there."""
    folder = home / "keys"
    earlier = folder / EARLIER
    kept = earlier.read_text() if earlier.exists() else ""
    write_durably(earlier, f"{kept}{old.vkey}\n".encode())
    write_durably(folder / "ledger.key", (new.secret() + "\n").encode(), mode=0o600)
    write_durably(folder / "ledger.vkey", (new.vkey + "\n").encode())


def earlier_vkeys(home: Path) -> list[str]:
    """Public keys that signed this ledger before it became that of a copy."""
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

"""The installation's own secrets: ledger signing key, subject digest key, page session key."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.artifacts import write_durably
from core.errors import IntegrityFailureError
from governance.checkpoint import SigningKey


@dataclass(frozen=True)
class Keys:
    signing: SigningKey = field(repr=False)
    subject: bytes = field(repr=False)  # HMAC key: equal subjects stay joinable, unreadable without it
    session: bytes = field(repr=False)  # HMAC key of page session cookies

    @property
    def vkey(self) -> str:
        """The public form of the signing key, to be kept by whoever verifies."""
        return self.signing.vkey


def load_or_create(home: Path, origin: str) -> Keys:
    """Read the keys under `home/keys`, making them on first use (mode 0600).

    Raises:
        IntegrityFailureError: the ledger key on disk was made for another origin.
    """
    folder = home / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    signing = SigningKey.parse(_secret(folder / "ledger.key", lambda: SigningKey.generate(origin).secret()))
    if signing.name != origin:
        raise IntegrityFailureError(
            f"{folder / 'ledger.key'} signs for {signing.name!r}, but ledger.origin is {origin!r}; "
            "set ASSAY_LEDGER__ORIGIN back, a log cannot change its name",
            field="ledger.origin", value=origin,
        )  # fmt: skip
    anchor = folder / "ledger.vkey"
    if not anchor.exists():
        write_durably(anchor, (signing.vkey + "\n").encode())
    return Keys(
        signing=signing,
        subject=bytes.fromhex(_secret(folder / "subject.key", lambda: secrets.token_hex(32))),
        session=bytes.fromhex(_secret(folder / "session.key", lambda: secrets.token_hex(32))),
    )


def _secret(path: Path, make: Callable[[], str]) -> str:
    try:
        # O_EXCL: of two processes that start at once, one makes the key and the other reads it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()

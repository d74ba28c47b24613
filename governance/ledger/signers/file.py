"""The key in a file of the home folder, read at each use: a rotation holds for running processes at once."""

from pathlib import Path
from typing import Final

from core.artifacts import fsync_folder, write_durably
from core.errors import IntegrityFailureError
from governance.proof.vkey import KeyFormatError, SigningKey, VerifierKey

EARLIER: Final = "earlier.vkeys"
NEXT: Final = "next.key"  # the new key of a rotation that is not recorded yet


def read_key(path: Path) -> SigningKey:
    """
    Raises:
        IntegrityFailureError: the file is missing or damaged.
    """
    try:
        return SigningKey.parse(path.read_text().strip())
    except (KeyFormatError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, KeyFormatError) else "it is not text"
        raise IntegrityFailureError(
            f"{path} is damaged: {reason}; restore it from a backup", field=path.name
        ) from error
    except OSError as error:
        raise IntegrityFailureError(
            f"{path} cannot be read: {error.strerror}; restore it from a backup", field=path.name
        ) from error


class FileSigner:
    """Signs with `ledger.key` in a folder of keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def _key(self) -> SigningKey:
        return read_key(self._folder / "ledger.key")

    @property
    def name(self) -> str:
        return self._key.name

    @property
    def verifier(self) -> VerifierKey:
        return self._key.verifier

    @property
    def vkey(self) -> str:
        return self._key.vkey

    def sign(self, text: bytes) -> bytes:
        return self._key.sign(text)

    def prepare(self, new: SigningKey) -> None:
        """Keep a new key aside until the log says that it signs from then on."""
        write_durably(self._folder / NEXT, (new.secret() + "\n").encode(), mode=0o600)

    def go_on(self, vkey: str) -> bool:
        """Put the new key in force if it is the one that the log names. Returns whether it is."""
        path = self._folder / NEXT
        if not path.exists() or read_key(path).vkey != vkey:
            return False
        publish(self._folder, self.vkey if (self._folder / "ledger.key").exists() else vkey)
        path.replace(self._folder / "ledger.key")
        fsync_folder(self._folder)
        publish(self._folder, vkey)
        return True


def publish(folder: Path, vkey: str) -> None:
    """Write the public key that signs from now on; the one before stays, because it has signed what is there."""
    path, earlier = folder / "ledger.vkey", folder / EARLIER
    before = path.read_text().strip() if path.exists() else ""
    kept = earlier.read_text() if earlier.exists() else ""
    if before not in ("", vkey) and before not in kept.split():
        write_durably(earlier, f"{kept}{before}\n".encode())
    write_durably(path, (vkey + "\n").encode())

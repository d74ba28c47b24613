"""What a signer of checkpoints is, and how it fails."""

from collections.abc import Callable
from typing import Protocol

from core.errors import BusyError, IntegrityFailureError
from governance.proof.vkey import NoteSigner

Prove = Callable[[int], list[bytes]]  # consistency proof from a tree of so many entries to the one to be signed


class SignerUnreachableError(BusyError):
    """The key cannot be asked now. Nothing is lost: the next checkpoint covers every entry."""

    code = "signer_unreachable"


class SignerRefusedError(IntegrityFailureError):
    """The signer has refused to sign, or gave a signature that does not hold."""

    code = "signer_refused"


class SignerDiffersError(IntegrityFailureError):
    """The configured key is not the one that the log goes on under."""

    code = "signer_differs"


class LedgerSigner(NoteSigner, Protocol):
    """Signs the checkpoints of a log, whose key may change while the service runs."""

    def go_on(self, vkey: str) -> bool:
        """Sign with this key from now on, if it is the one that is ready. Returns whether it is."""

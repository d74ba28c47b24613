"""Ask a signer process for signatures: the key is in no process of the service, and in no file that it can read.

The interface, which a KMS adapter may offer as well, is HTTP with JSON over a unix socket or on this machine:

    GET  /v1/key         -> {"vkey": "...", "next": "..." or null, "size": N}
    POST /v1/checkpoint  {"vkey": "...", "checkpoint": text, "from": N, "proof": [hex, ...]}
                         -> 200 {"signature": base64}
                         -> 409 {"size": N}          N is the size it last signed: prove from there
                         -> 403 {"detail": "..."}    it signs no such thing

`checkpoint` is the text of a note, which the signature covers; `proof` shows that its tree extends that of `from`.
"""

import base64
import binascii
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidError
from governance.ledger.signers.base import Prove, SignerRefusedError, SignerUnreachableError
from governance.ledger.signers.file import publish
from governance.proof.vkey import VerifierKey

UNIX: Final = "unix:"
MAX_ANSWER: Final = 100_000  # bytes


class RemoteSigner:
    """A signer process.

    Args:
        address: `unix:/path` or `http://127.0.0.1:port`.
        token_file: file with the password of an http address.
        public: file of the public key, known since the first time it was asked.
    """

    def __init__(self, address: str, token_file: Path | None, timeout_s: float, public: Path) -> None:
        self._address, self._token_file, self._timeout_s, self._public = address, token_file, timeout_s, public

    @property
    def verifier(self) -> VerifierKey:
        if self._public.exists():
            return VerifierKey.parse(self._public.read_text().strip())
        return VerifierKey.parse(self.keys()[0])

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def vkey(self) -> str:
        return str(self.verifier)

    def keys(self) -> tuple[str, str | None]:
        """The key it signs with, and the one that it has ready for a rotation."""
        status, answer = self._ask("GET", "/v1/key")
        if status != 200 or not isinstance(answer.get("vkey"), str):
            raise self._refused(answer)
        return answer["vkey"], answer.get("next")

    def go_on(self, vkey: str) -> bool:
        if vkey not in self.keys():
            return False
        publish(self._public.parent, vkey)
        return True

    def sign(self, text: bytes) -> bytes:
        raise SignerRefusedError("a signer process signs checkpoints alone, with a proof that they extend the last")

    def proving(self, prove: Prove, size: int) -> "ProvedSigner":
        return ProvedSigner(self, self.verifier, prove, size)

    def ask(self, verifier: VerifierKey, text: bytes, prove: Prove, size: int) -> bytes:
        """The signature of a checkpoint of `size` entries."""
        first = 0
        for _ in range(3):  # another process may have had one signed in between
            document = {
                "vkey": str(verifier), "checkpoint": text.decode(), "from": first,
                "proof": [node.hex() for node in prove(first)],
            }  # fmt: skip
            status, answer = self._ask("POST", "/v1/checkpoint", document)
            if status == 409 and isinstance(answer.get("size"), int):
                first = answer["size"]
                if first > size:
                    raise SignerRefusedError(
                        f"the signer has signed {first} entries, and this log has {size}: entries are missing, or the "
                        "database is an older copy; nothing was signed", size=size, signed=first,
                    )  # fmt: skip
                continue
            if status != 200:
                raise self._refused(answer)
            try:
                return base64.b64decode(answer["signature"], validate=True)
            except (KeyError, TypeError, ValueError, binascii.Error) as error:
                raise SignerRefusedError("the signer's answer holds no signature in base64") from error
        raise SignerUnreachableError("the signer signs for somebody else at the same time; nothing was signed")

    def _refused(self, answer: dict[str, Any]) -> SignerRefusedError:
        return SignerRefusedError(f"the signer at {self._address} refused: {answer.get('detail', 'without a reason')}")

    def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {read_token(self._token_file)}"
        body = None if document is None else json.dumps(document)
        connection = self._connection()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read(MAX_ANSWER))
        except (HTTPException, OSError, ValueError) as error:
            raise SignerUnreachableError(
                f"the signer at {self._address} does not answer ({type(error).__name__}); start `assay signer` there. "
                "Entries are kept, and are signed as soon as it answers", address=self._address,
            ) from error  # fmt: skip
        finally:
            connection.close()
        if answer.status >= 500 or not isinstance(found, dict):
            raise SignerUnreachableError(f"the signer at {self._address} answers {answer.status} without a reason")
        return answer.status, found

    def _connection(self) -> HTTPConnection:
        if self._address.startswith(UNIX):
            return _UnixConnection(self._address.removeprefix(UNIX), self._timeout_s)
        host, _, port = self._address.removeprefix("http://").rstrip("/").rpartition(":")
        return HTTPConnection(host.strip("[]"), int(port), timeout=self._timeout_s)


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("signer", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class ProvedSigner:
    """A signer process for one checkpoint, under one of its keys."""

    _signer: RemoteSigner
    verifier: VerifierKey
    _prove: Callable[[int], list[bytes]]
    _size: int

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def vkey(self) -> str:
        return str(self.verifier)

    def sign(self, text: bytes) -> bytes:
        return self._signer.ask(self.verifier, text, self._prove, self._size)


def read_token(path: Path) -> str:
    """
    Raises:
        InvalidError: the file cannot be read, or holds too little.
    """
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"signer.token_file {path} cannot be read: {error}", field="signer.token_file") from error
    if len(token) < 16 or not token.isascii() or any(c.isspace() for c in token):
        raise InvalidError(
            f"signer.token_file {path} needs one word of at least 16 ASCII characters, such as the output of "
            "`openssl rand -hex 32`", field="signer.token_file",
        )  # fmt: skip
    return token

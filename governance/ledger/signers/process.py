"""The signer process: holds the key of one ledger, and signs only checkpoints that extend the last one it signed.

It knows neither the service nor its database. `last.json` in its folder keeps size and root of what it signed last, and
is on disk before a signature leaves; so a log that was cut short, or rewritten, is not signed again, whoever asks.
"""

import base64
import fcntl
import hmac
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from core.artifacts import fsync_folder, write_durably
from core.errors import AppError, IntegrityFailureError, InvalidError
from governance.ledger.signers.file import NEXT, read_key
from governance.proof import merkle
from governance.proof.checkpoint import SIZE, timed
from governance.proof.vkey import SigningKey, strict_base64
from governance.verify.origins import CONTINUES, RECOVERS

LAST: Final = "last.json"
RECOVERY: Final = "recovery.vkeys"  # recovery keys that the signer may name, one a line
MAX_REQUEST: Final = 1_000_000  # bytes
OLD_AFTER_S: Final = 15  # a client that sends nothing for so long is dropped


class RefusedToSignError(InvalidError):
    """What was asked is no checkpoint that extends the last one."""


class SizeDiffersError(InvalidError):
    """The proof starts elsewhere than at the last signed size."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint has {size} entries; prove from there", size=size)
        self.size = size


class CheckpointSigner:
    """Decides what is signed, with the keys in a folder that only its own user can read."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            IntegrityFailureError: the key is missing or damaged.
            InvalidError: others can read the key.
        """
        self._folder, self._lock = folder, threading.Lock()
        for path in (folder, folder / "ledger.key", folder / NEXT):
            if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = "0700" if path.is_dir() else "0600"
                raise InvalidError(f"{path} is open to other users; run: chmod {mode} {path}", field="keys")
        read_key(folder / "ledger.key")
        self._last()
        self._held = (folder / ".lock").open("w")  # closed with the process
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise InvalidError(f"another signer works with {folder}; end it first", field="keys") from error

    def close(self) -> None:
        """Let another process work with the folder."""
        self._held.close()

    def keys(self) -> dict[str, Any]:
        ready = self._next()
        size, _ = self._last()
        return {
            "vkey": read_key(self._folder / "ledger.key").vkey, "next": None if ready is None else ready.vkey,
            "size": size,
        }  # fmt: skip

    def sign(self, vkey: str, text: str, first: int, proof: list[bytes]) -> bytes:
        """The signature of a checkpoint.

        Raises:
            SizeDiffersError: `first` is not the size that was signed last.
            RefusedToSignError: it is no checkpoint of this log, or does not extend the last one.
        """
        with self._lock:
            key = self._key(vkey)
            size, root = self._read(key, text)
            last_size, last_root = self._last()
            if first != last_size:
                raise SizeDiffersError(last_size)
            if last_size and not merkle.verify_consistency(last_size, size, last_root, root, proof):
                raise RefusedToSignError(
                    f"a tree of {size} entries that is not shown to extend the {last_size} signed last"
                )
            write_durably(self._folder / LAST, json.dumps({"size": size, "root": root.hex()}).encode(), mode=0o600)
            signature = key.sign(text.encode())
            ready = self._next()
            if ready is not None and ready.vkey == vkey:  # the log has gone on to it: the old key is done
                (self._folder / NEXT).replace(self._folder / "ledger.key")
                fsync_folder(self._folder)
            return signature

    def _key(self, vkey: str) -> SigningKey:
        for key in (read_key(self._folder / "ledger.key"), self._next()):
            if key is not None and key.vkey == vkey:
                return key
        raise RefusedToSignError("this signer does not have the key that was asked for")

    def _next(self) -> SigningKey | None:
        path = self._folder / NEXT
        return read_key(path) if path.exists() else None

    def _read(self, key: SigningKey, text: str) -> tuple[int, bytes]:
        lines = text.removesuffix("\n").split("\n")
        root = strict_base64(lines[2]) if len(lines) > 3 else None
        if not text.endswith("\n") or root is None or len(root) != 32 or not SIZE.fullmatch(lines[1]):
            raise RefusedToSignError("this is no checkpoint")
        if lines[0] != key.name:
            raise RefusedToSignError(f"a checkpoint of {lines[0]!r}, and the key is that of {key.name!r}")
        times = [line for line in lines[3:] if timed(line)]
        others = [line for line in lines[3:] if not timed(line)]
        if len(times) != 1 or not set(others) <= self._allowed():
            raise RefusedToSignError(f"a checkpoint with other lines than its time: {', '.join(others)[:200]}")
        return int(lines[1]), root

    def _allowed(self) -> set[str]:
        """Lines that this machine's operator has prepared: the next key of a rotation, and recovery keys."""
        ready = self._next()
        path = self._folder / RECOVERY
        recovery = path.read_text().split() if path.exists() else []
        return {f"{RECOVERS}{vkey}" for vkey in recovery} | ({f"{CONTINUES}{ready.vkey}"} if ready else set())

    def _last(self) -> tuple[int, bytes]:
        path = self._folder / LAST
        if not path.exists():
            return 0, merkle.EMPTY_ROOT
        try:
            found = json.loads(path.read_bytes())
            return int(found["size"]), bytes.fromhex(found["root"])
        except (ValueError, TypeError, KeyError) as error:
            raise IntegrityFailureError(
                f"{path} is damaged; write size and root of the last checkpoint that was signed into it, as "
                '{"size": N, "root": hex}', field="last",
            ) from error  # fmt: skip


def make_key(folder: Path, origin: str, *, ready: bool) -> SigningKey:
    """Make the first key of a signer, or the next one for a rotation.

    Raises:
        InvalidError: there is one.
    """
    path = folder / (NEXT if ready else "ledger.key")
    if path.exists():
        raise InvalidError(f"{path} exists; it is not replaced", field="keys", value=str(path))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    key = SigningKey.generate(read_key(folder / "ledger.key").name if ready else origin)
    write_durably(path, (key.secret() + "\n").encode(), mode=0o600)
    return key


class _UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        os.chmod(str(self.server_address), 0o660)  # its own user and group, which the folder narrows further
        self.server_name, self.server_port = "signer", 0

    def get_request(self) -> tuple[Any, Any]:
        request, _ = self.socket.accept()
        return request, ("unix", 0)


def listen(signer: CheckpointSigner, address: str, token: str | None) -> ThreadingHTTPServer:
    """A server that is bound and not running yet.

    Args:
        address: `unix:/path` or `http://127.0.0.1:port`.
        token: password that each request needs; None for a unix socket, whose file has permissions.
    """
    handler = _handler(signer, token)
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if path.is_socket():
            path.unlink()  # left by a process that was killed; two at once would each hold the lock of the key's folder
        return _UnixServer(str(path), handler)  # type: ignore[arg-type]  # an address of AF_UNIX is a path
    host, _, port = address.removeprefix("http://").rpartition(":")
    return ThreadingHTTPServer((host.strip("[]"), int(port)), handler)


def _handler(signer: CheckpointSigner, token: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = OLD_AFTER_S

        def do_GET(self) -> None:
            self._answer(lambda: signer.keys() if self.path == "/v1/key" else _no_route())

        def do_POST(self) -> None:
            self._answer(lambda: self._sign() if self.path == "/v1/checkpoint" else _no_route())

        def _sign(self) -> dict[str, Any]:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= MAX_REQUEST:
                raise RefusedToSignError(f"a request of {length} bytes")
            try:
                asked = json.loads(self.rfile.read(length))
                vkey, text, first = asked["vkey"], asked["checkpoint"], asked["from"]
                proof = [bytes.fromhex(node) for node in asked["proof"]]
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise RefusedToSignError(f"no request of this interface ({type(error).__name__})") from error
            if not (isinstance(vkey, str) and isinstance(text, str) and type(first) is int):
                raise RefusedToSignError("no request of this interface")
            return {"signature": base64.b64encode(signer.sign(vkey, text, first, proof)).decode()}

        def _answer(self, of: Callable[[], dict[str, Any]]) -> None:
            given = self.headers.get("Authorization", "")
            if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return self._send(401, {"detail": "the password of the signer is missing or wrong"})
            try:
                return self._send(200, of())
            except SizeDiffersError as error:
                return self._send(409, {"size": error.size, "detail": error.message})
            except RefusedToSignError as error:
                return self._send(403, {"detail": error.message})
            except (AppError, OSError, ValueError) as error:
                return self._send(500, {"detail": type(error).__name__})

        def _send(self, status: int, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler


def _no_route() -> dict[str, Any]:
    raise RefusedToSignError("no such address; it has /v1/key and /v1/checkpoint")

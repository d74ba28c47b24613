"""One HTTP request whose time and bytes are bounded whatever the other side does; redirects are not followed."""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import httpcore2

MAX_ANSWER_BYTES: Final = 64 << 10  # of the body, where nothing else is asked; the rest is not read
MAX_PAUSE_S: Final = 10.0  # between two pieces


class UnreachableError(Exception):
    """No answer. The message is plain and names no address."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes  # at most the first `max_bytes`


def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, limit_s: float, max_bytes: int = MAX_ANSWER_BYTES
) -> Answer:
    """Send one request and read the beginning of its answer, directly, without a proxy.

    Raises:
        UnreachableError: no complete head of an answer arrived within the limit.
    """
    backend = _Deadline(time.monotonic() + limit_s)
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), MAX_PAUSE_S)
    try:
        with (
            httpcore2.ConnectionPool(network_backend=backend, ssl_context=_trusted(), retries=0) as pool,
            pool.stream(
                method, url, headers=list(headers.items()), content=body, extensions={"timeout": timeout}
            ) as got,
        ):
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in got.headers}
            return Answer(got.status, found, _beginning(got.iter_stream(), max_bytes))
    except (httpcore2.TimeoutException, TimeoutError):
        raise UnreachableError(f"no answer within {limit_s:g} s") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
        raise UnreachableError(_plain(error)) from None


def _beginning(pieces: Iterable[bytes], max_bytes: int) -> bytes:
    """At most so many bytes of a body. What was answered counts, even if its body does not end."""
    found = bytearray()
    try:
        for piece in pieces:
            found += piece
            if len(found) >= max_bytes:
                break
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        pass
    return bytes(found[:max_bytes])


def _plain(error: Exception) -> str:
    """What happened, from a fixed list: the texts of errors may hold addresses."""
    if "certificate" in str(error).lower():
        return "its certificate is not trusted"
    if isinstance(error, httpcore2.ConnectError):
        return "no connection"
    return "the connection broke off" if isinstance(error, httpcore2.NetworkError) else "the answer is not HTTP"


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Deadline(httpcore2.NetworkBackend):
    """Connections on which every wait ends at one moment."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:  # fmt: skip
        wait = _left(self._until, timeout)
        stream = self._inner.connect_tcp(host, port, wait, local_address, socket_options)
        return _DeadlineStream(stream, self._until)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(min(seconds, _left(self._until, seconds)))


class _DeadlineStream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, until: float) -> None:
        self._inner, self._until = inner, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._until, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._until, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, _left(self._until, timeout))
        return _DeadlineStream(inner, self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(until: float, timeout: float | None) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout
    return min(left, timeout) if timeout is not None else left

"""uvicorn's HTTP protocol with bounds on heads and trailers, which its parser reads without end, and on slow clients.

Decision 0016 has the figures and the alternatives.
"""

import asyncio
import json
from typing import Any, Final
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.settings import ServerSettings

MAX_HEAD_BYTES: Final = 64 << 10  # request line and headers together
_PROBLEM: Final = json.dumps(
    {
        "type": "urn:assay:problem:headers_too_large", "title": "Request Header Fields Too Large", "status": 431,
        "detail": f"request line and headers are larger than {MAX_HEAD_BYTES >> 10} KiB; send less of them",
        "code": "headers_too_large",
    }
).encode()  # fmt: skip
_RESPONSE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_PROBLEM), _PROBLEM)
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds on what a client may cost before the application sees its request, and after.

    It answers 431 and closes the connection once MAX_HEAD_BYTES have arrived of a head or of the trailers of a body.
    Bytes count as they arrive, before the parser has a whole header: one endless header is bounded too.

    Every second, or oftener where limits are shorter, it looks whether the client moves. The connection is closed if a
    head takes longer than `head_s`, if the rest of a body that was answered already does not end, or if less than
    `min_bytes_per_s` of an answer are taken. How fast a body arrives that the application waits for is the business of
    `arriving.Arriving`.
    """

    _head_bytes = 0  # received since a head, a part of a body or a request last ended
    _arrived = 0  # _head_bytes with what has just been received
    _in_head = True
    _progressed = False  # one of these ended within the bytes just received
    _waits_since = 0.0  # since when the head, or the end of a body that was answered, is due; 0: nothing is
    _taken_until = 0.0  # until when the client must have taken more of its answer; 0: nothing waits for it
    _left = 0  # bytes of the answer that waited for the client when this was last checked
    _check: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, limits: ServerSettings, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limits = limits
        self._cycles: WeakSet[RequestResponseCycle] = WeakSet()  # several where a client does not wait for answers
        self._check_s = min(1.0, limits.head_s / 4, limits.stalled_body_s / 4)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._check = self.loop.call_later(self._check_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._check is not None:
            self._check.cancel()
        for cycle in self._cycles:  # uvicorn tells the newest only, and one before it would write to what is closed
            cycle.disconnected = True
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection of a client that does not move."""
        now = self.loop.time()
        if self._is_late(now) or self._takes_too_little(now):
            self.transport.abort()
        else:
            self._check = self.loop.call_later(self._check_s, self._look)

    def _is_late(self, now: float) -> bool:
        """Whether a head takes too long, or the end of a body whose answer is complete."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's annotation leaves out that there may be none yet
        if cycle is not None and (not cycle.response_complete or (self._in_head and not self._head_bytes)):
            self._waits_since = 0.0  # the application is at work, or the connection is idle: uvicorn ends it
            return False
        self._waits_since = self._waits_since or now
        return now - self._waits_since > (self._limits.head_s if self._in_head else self._limits.stalled_body_s)

    def _takes_too_little(self, now: float) -> bool:
        left, patience_s = self.transport.get_write_buffer_size(), self._limits.stalled_body_s
        taken, self._left = self._left - left, left
        if not left or taken < 0 or not self._taken_until:  # nothing waits, or more was written, or it begins to wait
            self._taken_until = now + patience_s if left else 0.0
            return False
        self._taken_until = min(now + patience_s, self._taken_until + taken / self._limits.min_bytes_per_s)
        return now > self._taken_until

    def data_received(self, data: bytes) -> None:
        self._progressed = False
        self._arrived = self._head_bytes + len(data)
        super().data_received(data)
        self._head_bytes = 0 if self._progressed else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_RESPONSE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._in_head and not self._progressed and self._arrived > MAX_HEAD_BYTES:  # a target the parser cannot hold
            self.transport.write(_RESPONSE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is dropped; uvicorn would append it to the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()  # raises on a target that it cannot read: the head has not ended then
        self._in_head, self._progressed = False, True
        if self.cycle is not None:
            self._cycles.add(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._progressed = True, True
        super().on_message_complete()

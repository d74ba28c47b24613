"""Bodies as they arrive: their memory is counted while they come, and one that comes too slowly is cut off.

Every request passes here, whichever route it is for. A client that sends slowly therefore costs a connection and the
bytes that it has really sent. Should the bodies under way take all the room there is, the slowest of them gives way.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BusyError, InvalidError
from core.settings import ServerSettings
from monitor.ingest.encoding import too_large
from monitor.ingest.ndjson import BodyTooLargeError

SMALL_BODY_MB: Final = 4  # of routes that take no rows and no files: a form, a few fields
BRISK_BYTES_PER_S: Final = 128 << 10  # a body that comes as fast as this gives way to no other
BRISK_PART: Final = 1 / 30  # of the patience with it: for so long it may pause and still count as brisk, one second
RETRY_AFTER_S: Final = 1
_KEY: Final = "assay.arriving"


class OverloadedError(BusyError):
    code = "overloaded"


class BodyStalledError(InvalidError):
    code = "body_stalled"


class Room:
    """The memory that bodies under way may take in this process, together; used on the event loop only."""

    def __init__(self, limit_mb: int) -> None:
        self.limit_mb, self.taken = limit_mb, 0
        self._coming: set[Arriving] = set()

    def take(self, body: "Arriving", size: int) -> None:
        """Count `size` bytes more for a body; if there is no room for them, the slowest body gives its own back.

        Raises:
            OverloadedError: no body is slow, and there is no room.
        """
        while self.taken and self.taken + size > self.limit_mb << 20:
            slow = min(self._coming, key=lambda one: one.brisk_until, default=None)
            if slow is None or slow is body or slow.is_brisk:
                raise self.overloaded()
            slow.give_way()
        self.taken += size
        body.held += size
        if body.is_coming:
            self._coming.add(body)

    def free(self, body: "Arriving") -> None:
        """Give back what a body holds."""
        self._coming.discard(body)
        self.taken -= body.held
        body.held = 0

    def has_come(self, body: "Arriving") -> None:
        """Keep a body that is complete: it gives way to no other."""
        self._coming.discard(body)

    def overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"more than {self.limit_mb} MiB of bodies are being received; send this again in a moment",
            retry_after_s=RETRY_AFTER_S,
        )


class Arriving:
    """The body of one request. `receive` is the request's own, within bounds."""

    __slots__ = (
        "_clock", "_deadline", "_is_displaced", "_least", "_patience", "_patience_s", "_receive", "_room",
        "_rows_mb", "brisk_until", "held", "is_coming", "is_kept", "limit_mb", "size",
    )  # fmt: skip

    def __init__(self, receive: Receive, room: Room, server: ServerSettings) -> None:
        self._receive, self._room = receive, room
        self._patience_s, self._least, self._rows_mb = server.stalled_body_s, server.min_bytes_per_s, server.max_body_mb
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._deadline = 0.0  # until when more must arrive; set when the body is first asked for
        self._patience: asyncio.Timeout | None = None
        self._is_displaced = False
        self.brisk_until = 0.0
        self.limit_mb = SMALL_BODY_MB
        self.size = self.held = 0
        self.is_coming, self.is_kept = True, True

    async def receive(self) -> Message:
        """The next part of the body.

        Raises:
            BodyStalledError: too little arrived.
            BodyTooLargeError: the body is larger than its route takes.
            OverloadedError: there is no room for it.
        """
        if not self.is_coming:  # whoever asks now waits for the end of the connection
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.disconnect":
            self.is_coming = False
            return message
        arrived = len(message.get("body", b""))
        now = self._clock()
        self.size += arrived
        self._deadline = min(now + self._patience_s, self._deadline + arrived / self._least)
        self.brisk_until = min(now + self._patience_s * BRISK_PART, self.brisk_until + arrived / BRISK_BYTES_PER_S)
        self.is_coming = message.get("more_body", False)
        if self.is_kept and self.size > self.limit_mb << 20:
            self.keep_no_more()
            raise self._too_large()
        if self.is_kept and arrived:
            self._room.take(self, arrived)
        if not self.is_coming:
            self._room.has_come(self)
        return message

    async def _next(self) -> Message:
        if self._was_displaced():
            raise self._room.overloaded()
        if not self._deadline:
            now = self._clock()
            self._deadline, self.brisk_until = now + self._patience_s, now + self._patience_s * BRISK_PART
        try:
            async with asyncio.timeout_at(self._deadline) as self._patience:
                return await self._receive()
        except TimeoutError as error:
            if self._was_displaced():
                raise self._room.overloaded() from error
            raise BodyStalledError(
                f"the body came too slowly: less than {self._least} bytes a second, or nothing for "
                f"{self._patience_s:g} s; nothing of it was stored, send it again"
            ) from error
        finally:
            self._patience = None

    def _was_displaced(self) -> bool:
        """Whether the body had to give way; this is told once, and then its rest may be dropped."""
        was, self._is_displaced = self._is_displaced, False
        return was

    @property
    def is_brisk(self) -> bool:
        return self._clock() < self.brisk_until

    def give_way(self) -> None:
        """Give the room back and end the wait for more."""
        self.keep_no_more()
        self._is_displaced = True
        if self._patience is not None:
            self._patience.reschedule(self._clock())

    def keep_no_more(self) -> None:
        self.is_kept = False
        self._room.free(self)

    def _too_large(self) -> BodyTooLargeError:
        if self.limit_mb == self._rows_mb:
            return too_large(self.limit_mb)
        return BodyTooLargeError(
            f"the body is larger than {self.limit_mb} MiB, the most that this route takes; send less",
            limit_mb=self.limit_mb,
        )


class BoundedBodies:
    """Middleware: every body is received through `Arriving`."""

    def __init__(self, app: ASGIApp, room: Room, server: ServerSettings) -> None:
        self._app, self._room, self._server = app, room, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = scope[_KEY] = Arriving(receive, self._room, self._server)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._room.free(body)


async def read_body(request: Request, limit_mb: int) -> bytes:
    """Read the body.

    Raises:
        BodyTooLargeError: the body is larger; up to four times the limit was read and dropped.
        BodyStalledError: it came too slowly.
        OverloadedError: there was no room for it; the rest was read and dropped, up to the same size.
    """
    arriving: Arriving = request.scope[_KEY]
    arriving.limit_mb = limit_mb
    chunks: list[bytes] = []
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(chunks)
    except BodyStalledError:
        raise
    except (BusyError, InvalidError):
        chunks.clear()
        await drain(request, limit_mb)
        raise


async def drain(request: Request, limit_mb: int) -> None:
    """Read and drop the rest of the body, because a client that is still sending would not see the response.

    Raises:
        BodyStalledError: it came too slowly.
    """
    arriving: Arriving = request.scope[_KEY]
    arriving.keep_no_more()
    while arriving.is_coming and arriving.size <= 4 * limit_mb << 20:
        if (await request.receive())["type"] == "http.disconnect":
            raise ClientDisconnect

"""Bodies as they arrive: their memory is counted while they come, and one that comes too slowly is cut off.

Every request passes here, whichever route it is for. A client that sends slowly therefore costs a connection and the
bytes that it has really sent. Should the bodies under way take all the room there is, the slowest of them gives way.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import AppError, BusyError, InvalidError
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

    def __init__(self, server: ServerSettings) -> None:
        self.limit_mb, self.rows_mb = server.max_under_way_mb, server.max_body_mb
        self.patience_s, self.least = server.stalled_body_s, server.min_bytes_per_s
        self.taken = 0  # bytes
        self._coming: set[Arriving] = set()
        self._sweeping: asyncio.AbstractEventLoop | None = None  # one timer for all bodies: one for each costs too much

    def watch(self, body: "Arriving") -> None:
        """Cut the body off when its patience has run out."""
        self._coming.add(body)
        if self._sweeping is not (loop := asyncio.get_running_loop()):
            self._sweeping = loop
            loop.call_later(min(1.0, self.patience_s / 4), self._cut_off, loop.time)

    def _cut_off(self, clock: Callable[[], float]) -> None:
        self._sweeping = None
        now = clock()
        for body in [one for one in self._coming if one.deadline < now]:
            body.end(BodyStalledError(
                f"the body came too slowly: less than {self.least} bytes a second, or nothing for "
                f"{self.patience_s:g} s; nothing of it was stored, send it again"
            ))  # fmt: skip
            self._coming.discard(body)
        if self._coming:
            self.watch(next(iter(self._coming)))

    def take(self, body: "Arriving", size: int) -> None:
        """Count `size` bytes more for a body; if there is no room for them, the slowest body gives its own back.

        Raises:
            OverloadedError: no body is slow, and there is no room.
        """
        while self.taken and self.taken + size > self.limit_mb << 20:
            holding = (one for one in self._coming if one.held)
            slow = min(holding, key=lambda one: one.brisk_until, default=None)
            if slow is None or slow is body or slow.is_brisk:
                raise self._overloaded()
            slow.keep_no_more()
            slow.end(self._overloaded())
        self.taken += size
        body.held += size

    def free(self, body: "Arriving") -> None:
        """Give back what a body holds."""
        self._coming.discard(body)
        self.taken -= body.held
        body.held = 0

    def has_come(self, body: "Arriving") -> None:
        """Keep a body that is complete: it gives way to no other."""
        self._coming.discard(body)

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"more than {self.limit_mb} MiB of bodies are being received; send this again in a moment",
            retry_after_s=RETRY_AFTER_S,
        )


class Arriving:
    """The body of one request. `receive` is the request's own, within bounds."""

    __slots__ = (
        "_cancelling", "_clock", "_end", "_receive", "_room", "_waiting", "brisk_until", "deadline", "held",
        "is_coming", "is_kept", "limit_mb", "size",
    )  # fmt: skip

    def __init__(self, receive: Receive, room: Room, clock: Callable[[], float]) -> None:
        self._receive, self._room, self._clock = receive, room, clock
        self._waiting: asyncio.Task[Any] | None = None  # the task that waits for more
        self._end: AppError | None = None  # what it is told instead of more
        self._cancelling = 0
        self.deadline = self.brisk_until = 0.0  # set when the body is first asked for
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
        room = self._room
        if not self.deadline:
            now = self._clock()
            self.deadline, self.brisk_until = now + room.patience_s, now + room.patience_s * BRISK_PART
        message = await self._next()
        if message["type"] == "http.disconnect":
            self.is_coming = False
            room.has_come(self)
            return message
        arrived = len(message.get("body", b""))
        self.size += arrived
        self.is_coming = message.get("more_body", False)
        if self.is_coming:
            now = self._clock()
            self.deadline = min(now + room.patience_s, self.deadline + arrived / room.least)
            self.brisk_until = min(now + room.patience_s * BRISK_PART, self.brisk_until + arrived / BRISK_BYTES_PER_S)
        else:
            room.has_come(self)
        if self.is_kept and self.size > self.limit_mb << 20:
            self.keep_no_more()
            raise self._too_large()
        if self.is_kept and arrived:
            room.take(self, arrived)
        return message

    async def _next(self) -> Message:
        """The server's next message, unless the body is ended while it is waited for, as `asyncio.timeout` does it."""
        self._raise_end()
        task = asyncio.current_task()
        assert task is not None
        self._waiting, self._cancelling = task, task.cancelling()
        self._room.watch(self)
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._end is None or task.uncancel() > self._cancelling:
                raise  # somebody else's
            self._raise_end()
            raise
        finally:
            self._waiting = None

    def _raise_end(self) -> None:
        """Tell once that the body was ended; then its rest may be dropped."""
        if (end := self._end) is not None:
            self._end = None
            raise end

    def end(self, reason: AppError) -> None:
        """End the wait for more; whoever waits, or asks next, is told the reason."""
        self._end = reason
        if self._waiting is not None:
            self._waiting.cancel()

    @property
    def is_brisk(self) -> bool:
        return self._clock() < self.brisk_until

    def keep_no_more(self) -> None:
        """Give the room back; what still comes is dropped."""
        self.is_kept = False
        self._room.taken -= self.held
        self.held = 0

    def _too_large(self) -> BodyTooLargeError:
        if self.limit_mb == self._room.rows_mb:
            return too_large(self.limit_mb)
        return BodyTooLargeError(
            f"the body is larger than {self.limit_mb} MiB, the most that this route takes; send less",
            limit_mb=self.limit_mb,
        )


class BoundedBodies:
    """Middleware: every body is received through `Arriving`."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app, self._room = app, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = scope[_KEY] = Arriving(receive, self._room, asyncio.get_running_loop().time)
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

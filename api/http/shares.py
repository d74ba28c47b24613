"""Shares: requests about one model, or one list, use a few threads at a time, so that others always find one free.

A request that has to wait does so on the event loop, without a thread. What a route streams is made in threads of its
own, in turns with other streams.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import Request

PER_SUBJECT: Final = 2  # requests that run at one time about one model, or of one route that is about none
STREAMS: Final = max(1, (os.cpu_count() or 1) // 2)  # parts of exports that are made at one time
_END: Final = object()


class Shares:
    """Who runs and who waits, for one application. Used on the event loop alone."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Semaphore] = {}
        self._asking: dict[str, int] = {}
        self.streams = CapacityLimiter(STREAMS)

    async def hold(self, subject: str) -> AsyncIterator[None]:
        """A share of a subject, for as long as the iteration lasts."""
        self._asking[subject] = self._asking.get(subject, 0) + 1
        try:
            async with self._running.setdefault(subject, asyncio.Semaphore(PER_SUBJECT)):
                yield
        finally:
            self._asking[subject] -= 1
            if not self._asking[subject]:
                del self._asking[subject], self._running[subject]


async def share(request: Request) -> AsyncIterator[None]:
    """Dependency of every route but those that take rows in: a share of the model, or of the route."""
    path = request.path_params
    subject = path.get("model") or path.get("name") or str(getattr(request.scope.get("route"), "path", ""))
    async for _ in request.app.state.shares.hold(subject):
        yield


async def in_turns(request: Request, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The parts of a stream, each made in a thread when it has its turn."""
    limiter: CapacityLimiter = request.app.state.shares.streams
    try:
        while True:
            part = await to_thread.run_sync(next, parts, _END, limiter=limiter)
            if not isinstance(part, bytes):
                return
            yield part
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()

"""The way in for rows: a bound on the bytes under way, and a few threads that parse and store.

The event loop only reads bodies. A request is refused before its body is kept when the bodies under way, or the rows
that wait to be flushed, are more than the limits: better a 503 at once than a queue in which requests die.
Small NDJSON bodies that wait together, of whatever models, are stored together.
"""

import asyncio
import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeVar

from core.errors import AppError, BusyError
from core.logs import logger
from monitor.ingest.media import IDENTITY, NDJSON
from monitor.ingest.receive import Body, Kind, Receipt, Small, receive, receive_together
from monitor.site import Site

THREADS: Final = 4
SMALL: Final = 64 << 10  # bytes of a body that is worth waiting for others
TOGETHER: Final = 1 << 20  # bytes of small bodies stored as one
RETRY_AFTER_S: Final = 1
# Small bodies are waited for this long, where that was worth it: a sync and a look at the database cost as much as
# storing several of them.
PAUSE_S: Final = 0.004
WORTH: Final = 2  # bodies that came meanwhile
TRIED: Final = 16  # batches after which it is tried again
T = TypeVar("T")
log = logger("api.http.intake")


class OverloadedError(BusyError):
    code = "overloaded"


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: "Callable[[], Any] | Small"
    answer: "asyncio.Future[Any]"


class Intake:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: deque[_Waiting] = deque()
        self._worth, self._batches, self._ended = False, 0, 0.0  # of waiting for small bodies; the last batch's end
        self._storing = False  # small bodies, by one thread at a time: what comes meanwhile shares the next sync
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._kept = False
        self.under_way = 0  # bytes; touched on the event loop alone

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Hold `size` bytes of the bound while a request is read and stored.

        Raises:
            OverloadedError: there is no room.
        """
        settings = self._site.settings.server
        if self.under_way and self.under_way + size > settings.max_under_way_mb << 20:
            raise OverloadedError(
                f"more than {settings.max_under_way_mb} MiB of rows are under way; send this again in a moment",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._site.events.unflushed.memory_bytes > settings.max_unfolded_mb << 20:
            raise OverloadedError(
                f"more than {settings.max_unfolded_mb} MiB of rows wait to be flushed; send this again in a moment",
                retry_after_s=RETRY_AFTER_S,
            )
        self.under_way += size
        try:
            yield
        finally:
            self.under_way -= size

    async def store(self, model: str, kind: Kind, body: Body) -> Receipt:
        """Have a body stored. Raises what `receive` raises."""
        small = body.media_type == NDJSON and body.encoding == IDENTITY and len(body.content) <= SMALL
        receipt: Receipt
        if small:
            receipt = await self._wait(Small(model, kind, body))
        else:
            receipt = await self.run(lambda: receive(self._site, model, kind, body))
        return receipt

    async def run(self, work: Callable[[], T]) -> T:
        """Have something done by the threads that store rows."""
        found: T = await self._wait(work)
        return found

    async def _wait(self, work: "Callable[[], Any] | Small") -> Any:
        waiting = _Waiting(work, asyncio.get_running_loop().create_future())
        with self._change:
            if not self._threads:
                self._threads = [threading.Thread(target=self._run, name="intake", daemon=True) for _ in range(THREADS)]
                for thread in self._threads:
                    thread.start()
            self._waiting.append(waiting)
            if not (self._storing and isinstance(work, Small)):  # else the thread that stores will find it
                self._change.notify()
        return await waiting.answer

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            answers = self._answers([waiting.work for waiting in batch])
            if isinstance(batch[0].work, Small):
                with self._change:
                    self._storing, self._ended = False, time.monotonic()
                    self._change.notify()
            for loop, group in groupby(zip(batch, answers, strict=True), key=lambda pair: pair[0].answer.get_loop()):
                loop.call_soon_threadsafe(_deliver, list(group))
            self._keep_what_is_loaded()

    def _keep_what_is_loaded(self) -> None:
        """After the first rows: all libraries are there, and looking through their objects stops everything 150 ms."""
        if not self._kept:  # two threads may both do it, which is no harm
            self._kept = True
            gc.collect()
            gc.freeze()

    def _answers(self, batch: "Sequence[Callable[[], Any] | Small]") -> Sequence[Any]:
        try:
            if callable(work := batch[0]):
                return [work()]
            return receive_together(self._site, [work for work in batch if isinstance(work, Small)])
        except AppError as error:
            return [error] * len(batch)
        except Exception as error:
            log.exception("not stored")
            return [error] * len(batch)

    def _next(self) -> list[_Waiting] | None:
        """What has waited longest; a small body with the other small ones. None at the end."""
        with self._change:
            while (found := self._first()) is None:
                if self._stopped:
                    return None
                self._change.wait()
        if not isinstance(found.work, Small):
            return [found]
        self._pause()
        with self._change:
            return self._gather()

    def _first(self) -> _Waiting | None:
        """The first that a thread may take, taken; of small bodies, the right to store them all."""
        for position, waiting in enumerate(self._waiting):
            if not isinstance(waiting.work, Small):
                del self._waiting[position]
                return waiting
            if not self._storing:
                self._storing = True
                return waiting
        return None

    def _pause(self) -> None:
        """Wait for more small bodies, while some keep coming: a lone client, or a few in step, are not held up."""
        self._batches += 1
        if time.monotonic() - self._ended > PAUSE_S or not (self._worth or self._batches % TRIED == 0):
            return
        before = len(self._waiting)
        time.sleep(PAUSE_S)
        self._worth = len(self._waiting) - before >= WORTH

    def _gather(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        size = 0
        for waiting in self._waiting:
            if isinstance(work := waiting.work, Small) and size < TOGETHER:
                taken.append(waiting)
                size += len(work.body.content)
            else:
                left.append(waiting)
        self._waiting = left
        return taken


def _deliver(answered: "Sequence[tuple[_Waiting, Any]]") -> None:
    for waiting, answer in answered:
        if waiting.answer.done():  # its client has gone
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)

"""Where ingest requests wait to be stored: a few threads that parse and store.

The event loop only reads bodies. A request is refused before its body is kept if the rows that wait to be flushed
exceed their limit: a 503 at once is better than a queue in which requests time out.
Small NDJSON bodies that arrive while others are being stored, of whatever models, are stored together: they share one
sync of the log and one query of the database. A lone body does not wait for others; decision 0017 has the figures.
"""

import asyncio
import gc
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeVar

from fastapi import Request

from api.http.arriving import RETRY_AFTER_S, OverloadedError, drain, read_body
from core.errors import AppError
from core.logs import logger
from monitor.ingest.media import IDENTITY, NDJSON
from monitor.ingest.receive import Body, Kind, Receipt, SmallBody, receive, receive_together
from monitor.site import Site

STORE_THREADS: Final = 4
MOST_OF_ONE: Final = STORE_THREADS - 1  # threads that store bodies of one model at one time; one is left to others
HELD_RETRY_S: Final = 30
HELD_SHARE: Final = 16  # a table that cannot be flushed may keep this part of the rows that wait to be flushed
SMALL_BODY_BYTES: Final = 64 << 10  # a body up to this size may share a batch
MAX_BATCH_BYTES: Final = 1 << 20  # of small bodies that are stored together
T = TypeVar("T")
log = logger("api.http.intake")


@dataclass(frozen=True, slots=True)
class _Task:
    """Work for a store thread, and where its result goes."""

    work: "Callable[[], Any] | SmallBody"
    answer: "asyncio.Future[Any]"
    of: str = ""  # model; "" where the work is about many


class Intake:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._tasks: deque[_Task] = deque()
        self._storing = Counter[str]()  # threads that store large bodies, by model
        self._storing_small = False  # one thread at a time does; what arrives meanwhile is its next batch
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._frozen = False

    def check_backlog(self) -> None:
        """Refuse rows while too many wait to be flushed.

        Raises:
            OverloadedError: they exceed the limit.
        """
        limit_mb = self._site.settings.server.max_unfolded_mb
        if self._site.events.unflushed.memory_bytes > limit_mb << 20:
            raise OverloadedError(
                f"more than {limit_mb} MiB of rows wait to be flushed; send this again in a moment",
                retry_after_s=RETRY_AFTER_S,
            )

    def _check_held(self, model: str) -> None:
        """Refuse rows of a model whose tables cannot be flushed, before they take the room of all others.

        Raises:
            OverloadedError: too many of its rows wait already.
        """
        limit = (self._site.settings.server.max_unfolded_mb << 20) // HELD_SHARE
        if self._site.events.unflushed.held_bytes(model) > limit:
            raise OverloadedError(
                f"the rows of {model} cannot be moved into its tables, and {limit >> 20} MiB of them wait; the log of "
                "the service says why. Rows of other models are taken",
                retry_after_s=HELD_RETRY_S,
            )

    async def store(self, model: str, kind: Kind, body: Body) -> Receipt:
        """Store a body. Raises what `receive` raises."""
        self._check_held(model)
        small = body.media_type == NDJSON and body.encoding == IDENTITY and len(body.content) <= SMALL_BODY_BYTES
        small = small and body.newest is None
        receipt: Receipt
        if small:
            receipt = await self._submit(SmallBody(model, kind, body))
        else:
            receipt = await self._submit(lambda: receive(self._site, model, kind, body), model)
        return receipt

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in a store thread."""
        result: T = await self._submit(work)
        return result

    async def _submit(self, work: "Callable[[], Any] | SmallBody", of: str = "") -> Any:
        task = _Task(work, asyncio.get_running_loop().create_future(), of)
        with self._change:
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._run, name="intake", daemon=True) for _ in range(STORE_THREADS)
                ]
                for thread in self._threads:
                    thread.start()
            self._tasks.append(task)
            if not (self._storing_small and isinstance(work, SmallBody)):  # else the thread that stores will find it
                self._change.notify()
        return await task.answer

    def stop(self) -> None:
        """Finish what waits and end the threads."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            answers = self._answers([task.work for task in batch])
            with self._change:
                if isinstance(batch[0].work, SmallBody):
                    self._storing_small = False
                else:
                    self._storing[batch[0].of] -= 1
                self._change.notify()
            for loop, group in groupby(zip(batch, answers, strict=True), key=lambda pair: pair[0].answer.get_loop()):
                loop.call_soon_threadsafe(_deliver, list(group))
            self._freeze_loaded_objects()

    def _freeze_loaded_objects(self) -> None:
        """Exempt what the libraries hold from garbage collection, once the first rows have loaded them all.

        A full collection of those 200,000 objects stops every request for more than 100 ms.
        """
        if not self._frozen:  # if two threads do it, no harm is done
            self._frozen = True
            gc.collect()
            gc.freeze()

    def _answers(self, batch: "Sequence[Callable[[], Any] | SmallBody]") -> Sequence[Any]:
        try:
            if callable(work := batch[0]):
                return [work()]
            return receive_together(self._site, [work for work in batch if isinstance(work, SmallBody)])
        except AppError as error:
            return [error] * len(batch)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a library in Rust that panics raises no Exception
            if len(batch) > 1:  # what one body does to its reader is no answer to the others; storing twice is safe
                return [self._answers([work])[0] for work in batch]
            log.exception("not stored")
            return [error if isinstance(error, Exception) else RuntimeError(type(error).__name__)]

    def _next_batch(self) -> list[_Task] | None:
        """The task that has waited longest, or all small bodies if it is one of them; None once stopped."""
        with self._change:
            while True:
                for position, task in enumerate(self._tasks):
                    if isinstance(task.work, SmallBody):
                        if not self._storing_small:
                            self._storing_small = True
                            return self._take_small()
                    elif self._storing[task.of] < MOST_OF_ONE:
                        del self._tasks[position]
                        self._storing[task.of] += 1
                        return [task]
                if self._stopped:
                    return None
                self._change.wait()

    def _take_small(self) -> list[_Task]:
        """The small bodies that wait, up to MAX_BATCH_BYTES, in their order."""
        taken: list[_Task] = []
        left: deque[_Task] = deque()
        size = 0
        for task in self._tasks:
            if isinstance(task.work, SmallBody) and size < MAX_BATCH_BYTES:
                taken.append(task)
                size += len(task.work.body.content)
            else:
                left.append(task)
        self._tasks = left
        return taken


def _deliver(answered: "Sequence[tuple[_Task, Any]]") -> None:
    for task, answer in answered:
        if task.answer.done():  # its client has disconnected
            continue
        if isinstance(answer, Exception):
            task.answer.set_exception(answer)
        else:
            task.answer.set_result(answer)


async def read_rows(request: Request, intake: Intake, limit_mb: int) -> bytes:
    """Read a body of rows, unless too many rows wait to be flushed.

    Raises:
        OverloadedError: they do, or there is no room for the body.
        BodyTooLargeError: it is larger than the limit.
        BodyStalledError: it came too slowly.
    """
    try:
        intake.check_backlog()
    except OverloadedError:
        await drain(request, limit_mb)
        raise
    return await read_body(request, limit_mb)

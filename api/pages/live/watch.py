"""One thread for all streams of a process: it reads the states that they are about, and wakes whose changed."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from api.pages.live.topics import State, Topic, states
from core.background import BackgroundThread
from core.errors import BusyError
from governance.access.roles import Caller
from monitor.site import Site

EVERY_S: Final = 1.0
MAX_LISTENERS: Final = 500  # of one process
MAX_OF_CALLER: Final = 12


class TooManyStreamsError(BusyError):
    code = "too_many_streams"


@dataclass(eq=False, slots=True)
class Listener:
    """One open stream. `seen` is what the thread read last, None before that; it is replaced, never changed."""

    topics: frozenset[Topic]
    who: str
    loop: asyncio.AbstractEventLoop
    changed: asyncio.Event
    seen: Mapping[str, State] | None = None
    over: bool = field(default=False)

    def wake(self) -> None:
        self.loop.call_soon_threadsafe(self.changed.set)


class Watch(BackgroundThread):
    """The streams of a process. A process without streams asks the database nothing."""

    def __init__(self, site: Site) -> None:
        super().__init__("live", every_s=EVERY_S)
        self._site = site
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._closed = False

    def listen(self, caller: Caller, topics: frozenset[Topic]) -> Listener:
        """A new stream, on the running event loop.

        Raises:
            TooManyStreamsError: this process, or the caller, has too many.
        """
        who = caller.person or caller.name
        found = Listener(topics, who, asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            mine = sum(1 for other in self._listeners if other.who == who)
            if self._closed or len(self._listeners) >= MAX_LISTENERS or mine >= MAX_OF_CALLER:
                raise TooManyStreamsError(
                    f"{len(self._listeners)} streams are open here, {mine} of them for {who}; close a page",
                    retry_after_s=30,
                )  # fmt: skip
            self._listeners.add(found)
        return found

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream: the server is about to stop, and waits for them."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.over = True
                listener.wake()

    def step(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        if not listeners:
            return
        with self._site.database.read() as db:
            found = states(db, frozenset().union(*(listener.topics for listener in listeners)))
        for listener in listeners:
            mine = {topic.name: found[topic] for topic in listener.topics if topic in found}
            if mine != listener.seen:
                listener.seen = mine
                listener.wake()

"""Work that a process repeats in a thread of its own until it is stopped."""

import threading
from abc import ABC, abstractmethod
from typing import Final

from core.logs import logger

AFTER_FAILURE_S: Final = 1.0
log = logger("core.background")


class BackgroundThread(ABC):
    """Calls `step` again and again, `every_s` apart. An error of a step is logged and does not end the thread."""

    def __init__(self, name: str, *, every_s: float) -> None:
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    @abstractmethod
    def step(self) -> None:
        """Do what is due now. A long step returns early once `stopping` is true."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, limit_s: float | None = None) -> None:
        """Returns when the step under way has ended, or after the limit; the thread then ends with its process."""
        self._stopping.set()
        self._thread.join(limit_s)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def pause(self, seconds: float) -> None:
        """Wait within a step; at most until the thread is to stop."""
        self._stopping.wait(seconds)

    def _repeat(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.step()
            except Exception:
                log.exception("background step failed", thread=self._thread.name)
                self.pause(AFTER_FAILURE_S)

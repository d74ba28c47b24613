"""Rows have come: have the windows of their models judged, soon but not for every request."""

import threading
import time
from typing import Final

from core import queue
from core.logs import logger
from monitor.site import Site

EVERY_S: Final = 0.2
AT_ONCE: Final = 2  # models in one go
MANY: Final = 100  # models that wait; then one in a go: a thousand busy models cost five evaluations a second
AGAIN_S: Final = 1.0  # a model is looked at no sooner than this after the last time
log = logger("api.looks")


class Looks:
    """A thread that asks for an evaluation of each model that rows came for; what it misses the scheduler finds."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._last: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.ask()
            except Exception:  # the database is away for a moment
                log.exception("windows not asked for")
                self._stop.wait(1.0)

    def ask(self) -> list[str]:
        """Ask once, for the models that have waited longest; returns which."""
        now, touched = time.monotonic(), self._site.events.touched
        due = sorted((self._last.get(m, 0.0), m) for m in list(touched) if now - self._last.get(m, -AGAIN_S) >= AGAIN_S)
        models = [model for _, model in due[: AT_ONCE if len(due) <= MANY else 1]]
        for model in models:  # before asking: rows that come meanwhile are asked for again
            touched.discard(model)
            self._last[model] = now
        if models:
            with self._site.database.write() as db:
                for model in models:
                    key = f"monitor:{model}"
                    queue.enqueue(
                        db, "monitor.evaluate", {"model": model}, now=self._site.clock.now(), dedupe_key=key,
                        lock_key=key,
                    )  # fmt: skip
        return models

"""Rows have come: have the windows of their models judged soon, where one of them can have changed by that."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from core import queue
from core.background import BackgroundThread
from core.jobs import EvaluateJob
from monitor.events.arrivals import Arrivals
from monitor.site import Site
from monitor.windows.wake import WakeCondition, wake_condition

EVERY_S: Final = 0.2
CLOSING: Final = 20  # models in one go of which a window can close
DISTURBED: Final = 2  # models in one go of which closed ones have to be looked at again
MANY: Final = 100  # such models that wait; then one in a go: a thousand of them cost five evaluations a second
AGAIN_S: Final = 1.0  # a model is looked at no sooner than this after the last time
READ: Final = 20  # models in one go of which is read what they wait for
HOLDS_S: Final = 300.0  # what was read is read again after this long,
PAUSE_S: Final = 60.0  # or when rows come again after none for this long: their silence may have been told


@dataclass(slots=True)
class _Watched:
    """A model, with its news since it was asked for; times on the monotonic clock."""

    news: Arrivals = field(default_factory=Arrivals)
    came: float = 0.0
    asked: float = 0.0
    wake_condition: WakeCondition | None = None
    read: float = 0.0


class Looks(BackgroundThread):
    """A thread that asks for evaluations as rows come; what it misses the scheduler finds."""

    def __init__(self, site: Site, *, again_s: float = AGAIN_S, pause_s: float = PAUSE_S) -> None:
        super().__init__("looks", every_s=EVERY_S)
        self._site, self._again_s, self._pause_s = site, again_s, pause_s
        self._watched: dict[str, _Watched] = {}
        self._fresh: set[str] = set()  # models with news that nobody has weighed

    def step(self) -> None:
        self.ask()

    def ask(self) -> list[str]:
        """Ask once, for the models that have waited longest; returns which."""
        now = time.monotonic()
        for model, news in self._site.events.arrivals.drain().items():
            self._take_in(model, news, now)
        closing, disturbed = self._weigh(now)
        models = closing[:CLOSING] + disturbed[: DISTURBED if len(disturbed) <= MANY else 1]
        if models:
            with self._site.database.write() as db:
                for model in models:
                    key = f"monitor:{model}"
                    queue.enqueue(
                        db, EvaluateJob(model=model), now=self._site.clock.now(), dedupe_key=key, lock_key=key
                    )
        for model in models:
            self._watched[model] = _Watched(came=now, asked=now)
            self._fresh.discard(model)
        return models

    def _take_in(self, model: str, news: Arrivals, now: float) -> None:
        watched = self._watched.setdefault(model, _Watched())
        if now - watched.came >= self._pause_s:
            watched.wake_condition = None
        watched.news.add(news)
        watched.came = now
        self._fresh.add(model)

    def _weigh(self, now: float) -> tuple[list[str], list[str]]:
        """Models of which a window can close, and those with news of closed ones; of the others nothing is asked."""
        rested = [m for m in self._fresh if now - self._watched[m].asked >= self._again_s]
        waiting = sorted(rested, key=lambda m: self._watched[m].asked)
        self._read([m for m in waiting if self._is_old(self._watched[m], now)][:READ], now)
        closing, disturbed, clock = list[str](), list[str](), self._site.clock.now()
        for model in waiting:
            watched = self._watched[model]
            if watched.wake_condition is None:
                continue  # its turn to be read comes
            if watched.wake_condition.can_close(watched.news, clock):
                closing.append(model)
            elif watched.wake_condition.has_late_rows(watched.news):
                disturbed.append(model)
            else:
                self._fresh.discard(model)
        return closing, disturbed

    def _is_old(self, watched: _Watched, now: float) -> bool:
        return watched.wake_condition is None or now - watched.read >= HOLDS_S

    def _read(self, models: Sequence[str], now: float) -> None:
        if models:
            with self._site.database.read() as db:
                for model in models:
                    self._watched[model].wake_condition, self._watched[model].read = (
                        wake_condition(self._site, db, model),
                        now,
                    )

"""Request evaluations as rows arrive: soon, and only for models whose windows they can have changed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from core import queue
from core.background import BackgroundThread
from core.jobs import EvaluateJob
from core.logs import logger
from monitor.events.arrivals import Arrivals
from monitor.site import Site
from monitor.windows.wake import WakeCondition, wake_condition

EVERY_S: Final = 0.2
MAX_CLOSING: Final = 20  # evaluations requested per pass for models with a window to close
MAX_LATE: Final = 2  # evaluations requested per pass for models with late rows in closed windows
# With more models than this with late rows, only one is requested per pass: five evaluations a second in all.
CROWD: Final = 100
MIN_INTERVAL_S: Final = 1.0  # between two requests for one model
MAX_READ: Final = 20  # models per pass whose wake condition is read from the database
CONDITION_VALID_S: Final = 300.0  # a wake condition is read again after this time
FAILED_S: Final = 60.0  # until the wake condition of a model that could not be read is read again
PAUSE_S: Final = 60.0  # and when rows arrive after this long a pause: a silence alert may have been opened meanwhile

log = logger("api.processes.evaluation_requests")


@dataclass(slots=True)
class _Watched:
    """A model and its arrivals since the last request; times are on the monotonic clock."""

    arrivals: Arrivals = field(default_factory=Arrivals)
    arrived_at: float = 0.0
    requested_at: float = 0.0
    condition: WakeCondition | None = None
    read_at: float = 0.0


class EvaluationRequester(BackgroundThread):
    """A thread that requests evaluations as rows arrive. The scheduler finds what it misses."""

    def __init__(self, site: Site, *, again_s: float = MIN_INTERVAL_S, pause_s: float = PAUSE_S) -> None:
        super().__init__("evaluation-requests", every_s=EVERY_S)
        self._site, self._again_s, self._pause_s = site, again_s, pause_s
        self._watched: dict[str, _Watched] = {}
        self._fresh: set[str] = set()  # models with arrivals that were not checked yet

    def step(self) -> None:
        self.run_once()

    def run_once(self) -> list[str]:
        """Request evaluations of the models that have waited longest, and return their names."""
        now = time.monotonic()
        for model, arrivals in self._site.events.arrivals.drain().items():
            self._take_in(model, arrivals, now)
        closing, late = self._due(now)
        models = closing[:MAX_CLOSING] + late[: MAX_LATE if len(late) <= CROWD else 1]
        if models:
            with self._site.database.write() as db:
                for model in models:
                    key = f"monitor:{model}"
                    queue.enqueue(
                        db, EvaluateJob(model=model), now=self._site.clock.now(), dedupe_key=key, lock_key=key
                    )
        for model in models:
            self._watched[model] = _Watched(arrived_at=now, requested_at=now)
            self._settle(model)
        return models

    def _take_in(self, model: str, arrivals: Arrivals, now: float) -> None:
        watched = self._watched.setdefault(model, _Watched())
        if now - watched.arrived_at >= self._pause_s:
            watched.condition = None
        watched.arrivals.add(arrivals)
        watched.arrived_at = now
        self._fresh.add(model)

    def _due(self, now: float) -> tuple[list[str], list[str]]:
        """Models with a window that can close, and models with late rows for closed windows."""
        rested = [m for m in self._fresh if now - self._watched[m].requested_at >= self._again_s]
        waiting = sorted(rested, key=lambda m: self._watched[m].requested_at)
        self._read([m for m in waiting if self._is_old(self._watched[m], now)][:MAX_READ], now)
        closing, late, clock = list[str](), list[str](), self._site.clock.now()
        for model in waiting:
            watched = self._watched[model]
            if watched.condition is None:
                continue  # a later pass reads it
            if watched.condition.can_close(watched.arrivals, clock):
                closing.append(model)
            elif watched.condition.has_late_rows(watched.arrivals):
                late.append(model)
            else:
                self._settle(model)
        return closing, late

    def _settle(self, model: str) -> None:
        self._fresh.discard(model)
        self._site.events.arrivals.settle(model)

    def _is_old(self, watched: _Watched, now: float) -> bool:
        return watched.condition is None or now - watched.read_at >= CONDITION_VALID_S

    def _read(self, models: Sequence[str], now: float) -> None:
        if models:
            with self._site.database.read() as db:
                for model in models:
                    try:
                        self._watched[model].condition = wake_condition(self._site, db, model)
                    except Exception:  # concerns no other model; the evaluations that the scheduler requests say it
                        log.exception("wake condition not read", model=model)
                        self._watched[model].condition = None
                        self._watched[model].requested_at = now + FAILED_S
                    self._watched[model].read_at = now

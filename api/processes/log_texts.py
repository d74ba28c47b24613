"""Join the texts of log records to events that were stored meanwhile, and write counts and outlines of spans."""

import time
from typing import Final

from core.background import BackgroundThread
from monitor.ingest.otlp import span_counts, span_trees, store
from monitor.ingest.otlp.given_up import give_up
from monitor.ingest.receive import target_of
from monitor.site import Site

EVERY_S: Final = 2.0
GIVE_UP_EVERY_S: Final = 30.0


class TextJoiner(BackgroundThread):
    """A thread that joins what a request could not: its span came at the same moment, or another amendment ran.

    It also gives up texts that waited too long, and writes what this process has counted of spans.
    """

    def __init__(self, site: Site) -> None:
        super().__init__("log-texts", every_s=EVERY_S)
        self._site = site
        self._gave_up = -GIVE_UP_EVERY_S  # on the monotonic clock

    def step(self) -> None:
        """Write counts and outlines of spans, and join what waits for stored events of every model."""
        span_counts.write(self._site, self._site.clock.now())
        span_trees.write(self._site, self._site.clock.now())
        with self._site.database.read() as db:
            waiting = store.models_waiting(db)
        for model in waiting:
            if not self.stopping:
                self._join(model)
        if time.monotonic() - self._gave_up >= GIVE_UP_EVERY_S:
            self._gave_up = time.monotonic()
            give_up(self._site, self._site.clock.now())

    def stop(self, limit_s: float | None = None) -> None:
        """As every thread; what was counted last is written."""
        super().stop(limit_s)
        span_counts.write(self._site, self._site.clock.now())
        span_trees.write(self._site, self._site.clock.now())

    def _join(self, model: str) -> None:
        from monitor.ingest.otlp import span_texts  # loads polars, which an idle service does without

        span_texts.join(self._site, target_of(self._site, model, "events"), at_once=True)

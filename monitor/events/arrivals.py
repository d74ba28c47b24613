"""News: what has come of each model's rows, told by those who accept them to the one who asks for evaluations."""

import threading
from dataclasses import dataclass

from monitor.events.wal import Header


@dataclass(slots=True)
class News:
    """Of one model; times in microseconds since 1970."""

    rows: int = 0  # events
    next_seq: int = 0
    low_ts: int | None = None
    high_ts: int | None = None
    outcomes: bool = False

    def add(self, later: "News") -> None:
        self.rows += later.rows
        self.next_seq = max(self.next_seq, later.next_seq)
        self.outcomes |= later.outcomes
        if later.low_ts is not None and (self.low_ts is None or later.low_ts < self.low_ts):
            self.low_ts = later.low_ts
        if later.high_ts is not None and (self.high_ts is None or later.high_ts > self.high_ts):
            self.high_ts = later.high_ts


def news_of(header: Header) -> News:
    """What a record of events or outcomes says."""
    if header.kind == "outcomes":
        return News(outcomes=True)
    return News(header.rows, header.first_seq + header.rows, header.low_ts, header.high_ts)


class Board:
    """Where news are pinned, until somebody takes them all."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pinned: dict[str, News] = {}

    def pin(self, model: str, news: News) -> None:
        with self._guard:
            if (before := self._pinned.get(model)) is not None:
                before.add(news)
            else:
                self._pinned[model] = news

    def take(self) -> dict[str, News]:
        """All that was pinned since the last time, by model."""
        with self._guard:
            found, self._pinned = self._pinned, {}
        return found

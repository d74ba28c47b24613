"""Arrivals: how many rows each model received and what times they cover, kept until they are drained.

The threads that accept rows post them; the thread that requests evaluations drains them.
"""

import threading
from dataclasses import dataclass

from monitor.events.wal_records import Header


@dataclass(slots=True)
class Arrivals:
    """Rows that one model received; times in microseconds since 1970."""

    rows: int = 0  # events
    next_seq: int = 0
    low_ts: int | None = None
    high_ts: int | None = None
    outcomes: bool = False  # whether outcomes arrived

    def add(self, later: "Arrivals") -> None:
        """Merge later arrivals of the same model into these."""
        self.rows += later.rows
        self.next_seq = max(self.next_seq, later.next_seq)
        self.outcomes |= later.outcomes
        if later.low_ts is not None and (self.low_ts is None or later.low_ts < self.low_ts):
            self.low_ts = later.low_ts
        if later.high_ts is not None and (self.high_ts is None or later.high_ts > self.high_ts):
            self.high_ts = later.high_ts


def arrivals_of(header: Header) -> Arrivals:
    """The arrivals that a record of events or outcomes amounts to."""
    if header.kind == "outcomes":
        return Arrivals(outcomes=True)
    return Arrivals(header.rows, header.first_seq + header.rows, header.low_ts, header.high_ts)


class ArrivalBoard:
    """Arrivals by model, posted by any thread, until one thread drains them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._posted: dict[str, Arrivals] = {}
        self._looked_at: set[str] = set()

    def post(self, model: str, arrivals: Arrivals) -> None:
        """Add to the arrivals of a model."""
        with self._guard:
            if (before := self._posted.get(model)) is not None:
                before.add(arrivals)
            else:
                self._posted[model] = arrivals

    def drain(self) -> dict[str, Arrivals]:
        """Everything posted since the last call, by model; `settle` says when it is settled what becomes of it."""
        with self._guard:
            found, self._posted = self._posted, {}
            self._looked_at |= found.keys()
        return found

    def settle(self, model: str) -> None:
        """The drained arrivals of a model led to an evaluation, or to none."""
        with self._guard:
            self._looked_at.discard(model)

    def unsettled(self) -> set[str]:
        """Models of which rows arrived that may yet lead to an evaluation."""
        with self._guard:
            return self._posted.keys() | self._looked_at

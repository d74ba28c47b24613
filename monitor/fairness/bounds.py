"""The interval of the worst disparity among groups, and its ends at any level, by which it is judged against a limit.

The largest of many differences is large by chance alone. So the end on the side of a smaller disparity comes from all
pairs of groups together: it is beyond 0 only if the rates of two groups differ with certainty, however many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.fairness.disparities import Disparity
from monitor.fairness.intervals import LEVEL, Ends, clopper_pearson, difference_of, newcombe, ratio

# A rate of each group with its lower and its upper end, shape (groups,) each.
RateEnds = tuple[Floats, Floats, Floats]
# Ends of the disparity of each pair from hits and rows of its two groups, shape (pairs,) each, at a level.
PairEnds = Callable[[Ints, Ints, Ints, Ints, float], Ends]


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseBounds:
    """Ends of the worst disparity between groups.

    `interval` is shown: score intervals of the pairs. Called with an alpha, it gives the ends that a limit is judged
    by, each wrong with a probability of at most about alpha however few rows there are: exact ends of each rate.

    Attributes:
        parts: of each rate, the rows that count and the rows in all, shape (groups,) each. A group without rows is left
            out of the comparison.
        disparity: how groups are compared.
        candidates: classes of which the worst one was chosen.

    Source: Newcombe (1998) and Koopman (1984) for `interval`; for alarms Zou and Donner (2008), Statistics in Medicine
    27, 1693-1702 (MOVER), with the exact ends of Clopper and Pearson (1934) for each rate. Bonferroni over the pairs.
    """

    parts: Sequence[tuple[Ints, Ints]]
    disparity: Disparity
    candidates: int = 1

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        """Ends that are wrong with a probability of at most about alpha each, 0 < alpha < 0.5; None with one group."""
        strict = alpha / max(2 * self._comparisons, 1)
        return self._worst(EXACT[self.disparity.name], 1.0 - 2.0 * strict, 1.0 - 2.0 * alpha)

    def interval(self, level: float = LEVEL) -> tuple[float | None, float | None]:
        """The interval that is shown: it holds the worst disparity with a probability of at least about `level`."""
        strict = 1.0 - (1.0 - level) / max(self._comparisons, 1)
        return self._worst(SHOWN[self.disparity.name], strict, level)

    @property
    def _comparisons(self) -> int:
        """Unordered pairs of groups, of every rate and candidate class."""
        sizes = [int((n > 0).sum()) for _, n in self.parts]
        return self.candidates * sum(k * (k - 1) // 2 for k in sizes)

    def _worst(self, of_pairs: PairEnds, strict: float, loose: float) -> tuple[float | None, float | None]:
        if not self._comparisons:
            return None, None
        possible = self._pairs(of_pairs, loose)
        sure = possible if strict == loose else self._pairs(of_pairs, strict)
        if self.disparity.higher_is_better:
            return max(0.0, float(possible[0].min())), min(1.0, float(sure[1].min()))
        return max(0.0, float(sure[0].max())), min(1.0, float(possible[1].max()))

    def _pairs(self, of_pairs: PairEnds, level: float) -> Ends:
        """Ends of every ordered pair of groups and every rate, shape (rates * groups * (groups - 1),) each."""
        found = []
        for hits, n in self.parts:
            x, rows = hits[n > 0], n[n > 0]
            first, second = np.nonzero(~np.eye(len(rows), dtype=bool))
            found.append(of_pairs(x[first], rows[first], x[second], rows[second], level))
        low, high = zip(*found, strict=True)
        return np.concatenate(low), np.concatenate(high)


def exact_difference(hits_a: Ints, n_a: Ints, hits_b: Ints, n_b: Ints, level: float) -> Ends:
    """Ends of the difference of two rates, from exact ends of each.

    Args:
        hits_a, n_a: rows that count and rows of the first group of each pair, shape (pairs,).
        hits_b, n_b: those of the second group.
        level: 1 minus the error of both ends.

    Returns:
        Lower and upper ends of a - b, -1..1, shape (pairs,) each.

    Source: Zou and Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    return difference_of(hits_a / n_a, clopper_pearson(hits_a, n_a, level), hits_b / n_b,
                         clopper_pearson(hits_b, n_b, level))  # fmt: skip


def exact_ratio(hits_a: Ints, n_a: Ints, hits_b: Ints, n_b: Ints, level: float) -> Ends:
    """Ends of the ratio of two rates, from exact ends of each.

    Args:
        hits_a, n_a: rows that count and rows of the first group of each pair, shape (pairs,).
        hits_b, n_b: those of the second group.
        level: 1 minus the error of both ends.

    Returns:
        Lower and upper ends of a / b, >= 0, shape (pairs,) each; infinite where b may be 0.

    Source: Donner and Zou (2012), Statistical Methods in Medical Research 21, 347-359.
    """
    return ratio_ends((hits_a / n_a, *clopper_pearson(hits_a, n_a, level)),
                      (hits_b / n_b, *clopper_pearson(hits_b, n_b, level)))  # fmt: skip


def ratio_ends(a: RateEnds, b: RateEnds) -> Ends:
    """Ends of the ratio of two rates, recovered from the ends of each.

    Args:
        a, b: the first and the second rate of each pair with its ends, shape (pairs,).

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


SHOWN: Final[Mapping[str, PairEnds]] = {"difference": newcombe, "ratio": ratio}
EXACT: Final[Mapping[str, PairEnds]] = {"difference": exact_difference, "ratio": exact_ratio}

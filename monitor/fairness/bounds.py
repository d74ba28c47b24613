"""The interval of the worst disparity among groups, and its ends at any level, by which it is judged against a limit.

The largest of many differences is large by chance alone. So the end on the side of a smaller disparity comes from all
comparisons together: it is beyond 0 only if two rates differ with certainty, however many groups there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from core.arrays import Flags, Floats, Ints
from monitor.fairness.comparisons import Compare, Disparity
from monitor.fairness.estimates import Estimates
from monitor.fairness.intervals import LEVEL, Ends, difference_of, newcombe, ratio

# A rate of each group with its lower and its upper end, shape (groups,) each.
RateEnds = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """The two rates of each comparison, in both orders.

    Attributes:
        first, second: the two sides, shape (pairs,) each.
        inside: share of all rows that the group has, where it is compared with all rows: the other side is then the
            rows outside it; 0 elsewhere, shape (pairs,).
        inverse: whether the group is the second side, shape (pairs,).
    """

    first: Estimates
    second: Estimates
    inside: Floats
    inverse: Flags

    @classmethod
    def of(cls, rates: Estimates, compare: Compare, *, rest: Estimates | None = None, reference: int | None = None,
           directed: bool = False) -> Self:  # fmt: skip
        """The comparisons of one rate.

        Args:
            rates: of the compared groups.
            compare: what groups are compared with.
            rest: for `overall`: in the place of each group, the rate of all other rows.
            reference: for `reference`: place of the named group.
            directed: whether only group to base is compared, and not the inverse.

        Returns:
            Both orders of every comparison whose rates are both defined.

        Source: pairs of groups; the rate of all rows is a weighted mean of the group's and that of the others.
        """
        groups = len(rates.value)
        if compare == "overall" and rest is not None:
            both = _stacked(rates, rest)
            at, other = np.arange(groups), np.arange(groups) + groups
        else:
            both = rates
            at, other = np.nonzero(~np.eye(groups, dtype=bool))
            if compare == "reference" and reference is not None:
                at, other = (side[other == reference] for side in (at, other))
        ordered = compare in ("between", "best")  # already both orders
        first = at if ordered or directed else np.concatenate([at, other])
        second = other if ordered or directed else np.concatenate([other, at])
        inverse = np.zeros(len(first), dtype=bool)
        inverse[len(at) :] = True
        sides = both.take(first), both.take(second)
        n = sides[0].n + sides[1].n
        group = np.where(inverse, sides[1].n, sides[0].n)
        inside = np.divide(group, n, out=np.zeros(len(n)), where=n > 0) if compare == "overall" else np.zeros(len(n))
        kept = np.nonzero(sides[0].defined & sides[1].defined)[0]
        return cls(sides[0].take(kept), sides[1].take(kept), inside[kept], inverse[kept])

    def ends(self, disparity: Disparity, level: float, *, exact: bool) -> Ends:
        """Ends of the disparity of each comparison, at a level, shape (pairs,) each."""
        a, b = self.first, self.second
        shares = a.is_share and b.is_share
        if shares and not exact:
            assert a.hits is not None
            assert b.hits is not None
            of = newcombe if disparity.name == "difference" else ratio
            low, high = of(a.hits, a.n, b.hits, b.n, level)
        else:
            ends = (side.exact(level) if exact else side.interval(level) for side in (a, b))
            (low_a, high_a), (low_b, high_b) = ends
            if disparity.name == "difference":
                low, high = difference_of(a.value, (low_a, high_a), b.value, (low_b, high_b))
            else:
                low, high = ratio_ends((a.value, low_a, high_a), (b.value, low_b, high_b))
        return self._to_all(low, disparity), self._to_all(high, disparity)

    def _to_all(self, ends: Floats, disparity: Disparity) -> Floats:
        """What a comparison with the rows outside a group says of that with all rows."""
        inside, outside = self.inside, 1.0 - self.inside
        if disparity.name == "difference":
            return ends * outside
        with np.errstate(divide="ignore", invalid="ignore"):
            to_all = 1.0 / (inside + np.where(outside > 0, outside / ends, 0.0))
            from_all = inside + np.where(outside > 0, outside * ends, 0.0)
        return np.where(inside > 0, np.where(self.inverse, from_all, to_all), ends)


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseBounds:
    """Ends of the worst disparity.

    `interval` is shown: score intervals of the pairs. Called with an alpha, it gives the ends that a limit is judged
    by, each wrong with a probability of at most about alpha however few rows there are: exact ends of each rate.

    Attributes:
        pairs: of each rate, its comparisons in both orders.
        disparity: how two rates are compared.
        candidates: classes of which the worst one was chosen.
        highest: the largest possible value; None where there is none.

    Source: Newcombe (1998) and Koopman (1984) for `interval`; for alarms Zou and Donner (2008), Statistics in Medicine
    27, 1693-1702 (MOVER), with the exact ends of Clopper and Pearson (1934) for each rate. Bonferroni over comparisons.
    """

    pairs: Sequence[Pairs]
    disparity: Disparity
    candidates: int = 1
    highest: float | None = 1.0

    def __call__(self, alpha: float) -> tuple[float | None, float | None]:
        """Ends that are wrong with a probability of at most about alpha each, 0 < alpha < 0.5; None with one group."""
        strict = alpha / max(2 * self._comparisons, 1)
        return self._worst(1.0 - 2.0 * strict, 1.0 - 2.0 * alpha, exact=True)

    def interval(self, level: float = LEVEL) -> tuple[float | None, float | None]:
        """The interval that is shown: it holds the worst disparity with a probability of at least about `level`."""
        strict = 1.0 - (1.0 - level) / max(self._comparisons, 1)
        return self._worst(strict, level, exact=False)

    @property
    def _comparisons(self) -> int:
        """Unordered comparisons, of every rate and candidate class."""
        return self.candidates * sum((len(one.inside) + 1) // 2 for one in self.pairs)

    def _worst(self, strict: float, loose: float, *, exact: bool) -> tuple[float | None, float | None]:
        if not self._comparisons:
            return None, None
        possible = self._pairs(loose, exact=exact)
        sure = possible if strict == loose else self._pairs(strict, exact=exact)
        if self.disparity.higher_is_better:
            return self._inside(possible[0].min()), self._inside(sure[1].min())
        return self._inside(sure[0].max()), self._inside(possible[1].max())

    def _inside(self, end: float) -> float | None:
        if self.highest is not None:
            end = min(end, self.highest)
        return max(0.0, float(end)) if np.isfinite(end) else None

    def _pairs(self, level: float, *, exact: bool) -> Ends:
        """Ends of every comparison of every rate, shape (rates * pairs,) each."""
        low, high = zip(*(one.ends(self.disparity, level, exact=exact) for one in self.pairs), strict=True)
        return np.concatenate(low), np.concatenate(high)


def _stacked(a: Estimates, b: Estimates) -> Estimates:
    def joined(x: Floats | Ints | None, y: Floats | Ints | None) -> Floats | Ints | None:
        return None if x is None or y is None else np.concatenate([x, y])

    return Estimates(
        np.concatenate([a.value, b.value]), np.concatenate([a.n, b.n]),
        joined(a.hits, b.hits), joined(a.error, b.error), a.odds,  # type: ignore[arg-type]  # as they were
    )  # fmt: skip


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

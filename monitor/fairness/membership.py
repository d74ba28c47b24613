"""Bounds on rates and disparities of groups where it is not known who belongs to which group.

Two cases. Some rows have no protected value: they may belong to any group, so the disparity lies between that of the
worst and that of the best assignment of them. Or a proxy, such as a name or an address, gives each row a probability of
belonging to a group: then the counts of answers and the probabilities allow a range of joint counts, and no more can be
known without assuming that the answer has nothing to do with membership among rows of equal probability.

Bounds are no confidence interval: more rows do not narrow them. The chance of the sample is added apart.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from core.arrays import Floats
from core.errors import InvalidError
from monitor.fairness.intervals import LEVEL, newcombe, ratio

Kind = Literal["difference", "ratio"]

_ROUNDING: Final = 1e-6  # by which the shares of one kind of row may miss a sum of 1


@dataclass(frozen=True, slots=True)
class Possible:
    """What the worst disparity between groups may be.

    Attributes:
        low, high: its ends over every membership that the rows allow; None, with a `reason`, where it is undefined.
        low_sampled, high_sampled: the same with the chance of the sample, at about the level asked for.
        pair: places of the two groups that may differ most; None where undefined.
        unknown: rows whose group is not known.
    """

    low: float | None
    high: float | None
    low_sampled: float | None
    high_sampled: float | None
    pair: tuple[int, int] | None
    unknown: int
    reason: str | None


@dataclass(frozen=True, eq=False, slots=True)
class Extremes:
    """The lowest and the highest rate that each group may have, as hits of rows; shape (groups,) each."""

    low_hits: Floats
    low_n: Floats
    high_hits: Floats
    high_n: Floats

    def with_unknown(self, hits: int, n: int) -> "Extremes":
        """The same with rows that may belong to any group.

        The lowest rate then has every one of them that does not count, the highest one every one that does.

        Raises:
            InvalidError: more of them count than there are.
        """
        if not 0 <= hits <= n:
            raise InvalidError(f"hits is {hits} of {n} rows without a group; give at most all of them", hits=hits)
        return Extremes(self.low_hits, self.low_n + (n - hits), self.high_hits + hits, self.high_n + hits)

    @property
    def rates(self) -> tuple[Floats, Floats]:
        """Lowest and highest rates, 0..1; nan for a group to which no row may belong."""
        return _rate(self.low_hits, self.low_n), _rate(self.high_hits, self.high_n)


def of_known(hits: ArrayLike, n: ArrayLike) -> Extremes:
    """The rate of each group whose rows are known.

    Args:
        hits: rows of each group that count, shape (groups,).
        n: rows of each group, shape (groups,).

    Returns:
        Lowest and highest rates are equal; `with_unknown` adds rows whose group is missing.

    Source: Manski (2003), Partial Identification of Probability Distributions, chapter 1, for the latter.
    """
    x, rows = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return Extremes(x, rows, x, rows)


def of_proxy(hits: ArrayLike, misses: ArrayLike, rows: ArrayLike, shares: ArrayLike) -> Extremes:
    """The extremes of each group's rate, given the share of each kind of row that belongs to it.

    Args:
        hits: of each kind (rows with one value of the proxy), the rows that count, shape (kinds,).
        misses: the rows that are in the rate's denominator and do not count, shape (kinds,).
        rows: all rows of the kind, shape (kinds,); more than hits and misses for a rate of, say, positive outcomes.
        shares: the share of each kind that belongs to each group, 0..1, shape (kinds, groups).

    Returns:
        Within a kind any overlap of answers and membership is possible that both shares allow.

    Raises:
        InvalidError: a share is none, or those of one kind are more than 1 together.

    Source: Kallus, Mao and Zhou (2022), Management Science 68, 1959-1981, propositions 2 and 6, by the bounds of
    Frechet.
    """
    h, m, n = (np.asarray(x, dtype=np.float64)[:, None] for x in (hits, misses, rows))
    share = np.asarray(shares, dtype=np.float64)
    if not (np.isfinite(share).all() and (share >= 0).all() and (share.sum(axis=1) <= 1 + _ROUNDING).all()):
        raise InvalidError("the shares of a proxy's groups are not 0..1 with a sum of at most 1; correct them")
    members = n * share
    least_h, most_h = np.maximum(0.0, members - (n - h)).sum(axis=0), np.minimum(h, members).sum(axis=0)
    least_m, most_m = np.maximum(0.0, members - (n - m)).sum(axis=0), np.minimum(m, members).sum(axis=0)
    return Extremes(least_h, least_h + most_m, most_h, most_h + least_m)


def possible(extremes: Extremes, kind: Kind, unknown: int, level: float = LEVEL) -> Possible:
    """What the worst disparity between groups may be, given the extremes of each group's rate.

    Args:
        extremes: of each group; a group to which no row may belong is left out.
        kind: `difference` is the largest less the smallest rate, `ratio` the smallest by the largest.
        unknown: rows whose group is not known.
        level: of the ends that count the chance of the sample too.

    Returns:
        Bounds; equal to the disparity itself where every group is known. They are sharp for two groups. For more, the
        end of the smaller disparity may be reached by no assignment: rows that are missing are used for each pair anew.

    Source: that of the extremes; for the chance of the sample the intervals of pairs at the extremes, as in Imbens and
    Manski (2004), Econometrica 72, 1845-1857.
    """
    places = np.flatnonzero((extremes.low_n > 0) & (extremes.high_n > 0))
    if len(places) < 2:
        return Possible(None, None, None, None, None, unknown, "fewer than two groups have rows")
    a, b = (places[i] for i in np.nonzero(~np.eye(len(places), dtype=bool)))
    floor, ceiling = extremes.rates
    low_a, high_a = (extremes.low_hits[a], extremes.low_n[a]), (extremes.high_hits[a], extremes.high_n[a])
    low_b, high_b = (extremes.low_hits[b], extremes.low_n[b]), (extremes.high_hits[b], extremes.high_n[b])
    strict = 1.0 - (1.0 - level) / (len(a) // 2)
    if kind == "difference":
        most, least = ceiling[a] - floor[b], floor[a] - ceiling[b]
        at = int(np.argmax(most))
        ends = (
            float(least.max()), float(most[at]), float(newcombe(*low_a, *high_b, strict)[0].max()),
            float(newcombe(*high_a, *low_b, level)[1].max()),
        )  # fmt: skip
    else:
        if not ceiling[places].max() > 0:
            return Possible(None, None, None, None, None, unknown, "no row counts, so the highest rate is 0")
        least, most = _rate(floor[a], ceiling[b]), _rate(ceiling[a], floor[b])
        at = int(np.nanargmin(least))
        ends = (
            float(least[at]), float(np.nanmin(most, initial=1.0)), float(ratio(*low_a, *high_b, level)[0].min()),
            float(ratio(*high_a, *low_b, strict)[1].min()),
        )  # fmt: skip
    low, high, low_sampled, high_sampled = (min(1.0, max(0.0, end)) for end in ends)
    return Possible(low, high, low_sampled, high_sampled, (int(a[at]), int(b[at])), unknown, None)


def _rate(hits: Floats, n: Floats) -> Floats:
    out: Floats = np.full(np.shape(n), np.nan)
    np.divide(hits, n, out=out, where=n > 0)
    return out

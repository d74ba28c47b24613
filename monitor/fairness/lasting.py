"""A limit of a fairness metric in the form that `evidence` tests: two sides, and by how much they may differ.

Every comparison of the catalogue has that form. Between groups, to a named one and to the best one, the sides are two
groups; to all rows, a group and the rows outside it, since all rows are the weighted mean of both in each window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from core.arrays import Flags, Floats, Ints
from monitor.fairness.sequential import Evidence, Sides, evidence

Kind = Literal["difference", "ratio"]
Compare = Literal["between", "overall", "reference", "best"]
ALL_ROWS: Final = -1  # in place of a group: all rows together


@dataclass(frozen=True, eq=False, slots=True)
class CountedWindows:
    """One rate of the groups in each window, in order of time.

    Attributes:
        hits, n: rows that count, and rows, shape (windows, groups).
        compared: whether each group is compared; the others count among all rows, shape (groups,).
    """

    hits: Ints
    n: Ints
    compared: Flags


@dataclass(frozen=True, slots=True)
class Lasting:
    """Evidence over windows that a limit is exceeded.

    Attributes:
        evidence: of all comparisons of the worst rate.
        rate: place of that rate.
        pair: the two groups that lead it; the second is `ALL_ROWS` for all rows. None without a comparison.
    """

    evidence: Evidence
    rate: int
    pair: tuple[int, int] | None


def lasting(
    rates: Sequence[CountedWindows], kind: Kind, compare: Compare, limit: float, error: float, *,
    reference: int | None = None, directed: bool = False,
) -> Lasting:  # fmt: skip
    """Evidence, over windows, that some group is further from what it is compared with than a limit allows.

    Args:
        rates: of each rate of the metric, its counts.
        kind: a difference must not exceed the limit, a ratio not fall below it.
        compare: what groups are compared with; the best one may be any, so all pairs are.
        limit: of a difference at least 0, of a ratio above 0 and at most 1.
        error: probability of ever alarming while the limit holds in every window, 0..1.
        reference: place of the named group, for `reference`.
        directed: whether only a group that has less than what it is compared with counts.

    Returns:
        The evidence of the rate that has most of it; each rate has its part of the error.

    Source: `monitor.fairness.sequential`.
    """
    found = []
    for at, counted in enumerate(rates):
        group, other = _compared(np.flatnonzero(counted.compared), compare, reference)
        both = compare == "overall" or (compare == "reference" and not directed)
        halves = [
            _tested(counted, group, other, kind, limit, less=less) for less in ([True, False] if both else [True])
        ]
        sides = Sides(*(np.concatenate([half[i] for half in halves], axis=1) for i in range(4)))
        slope, intercept = (np.concatenate([half[i] for half in halves], axis=1) for i in (4, 5))
        one = evidence(sides, slope=slope, intercept=intercept, error=error / len(rates))
        # What is compared with the limit is the evidence at the whole error, so that of a part counts for less.
        one = replace(one, log_e=one.log_e - float(np.log(len(rates))))
        place = None if one.leading is None else one.leading % len(group)
        found.append(Lasting(one, at, None if place is None else (int(group[place]), int(other[place]))))
    return max(found, key=lambda lead: lead.evidence.log_e)


def _compared(groups: Ints, compare: Compare, reference: int | None) -> tuple[Ints, Ints]:
    """The places of each comparison: the group, and what it is compared with."""
    if compare == "overall":
        return groups, np.full(len(groups), ALL_ROWS)
    if compare == "reference":
        others = groups[groups != reference] if reference in groups else groups[:0]
        return others, np.full(len(others), -1 if reference is None else reference)
    at, other = np.nonzero(~np.eye(len(groups), dtype=bool))
    return groups[at], groups[other]


def _tested(
    counted: CountedWindows, group: Ints, other: Ints, kind: Kind, limit: float, *, less: bool
) -> tuple[Ints | Floats, ...]:
    """Counts of both sides, slope and intercept of: rate <= intercept + slope * other rate, while the limit holds.

    Args:
        less: whether the group has less than what it is compared with, where the limit does not hold.
    """
    mine = counted.hits[:, group], counted.n[:, group]
    outside = [
        np.where(other == ALL_ROWS, x.sum(axis=1, keepdims=True) - own, x[:, other])
        for x, own in zip((counted.hits, counted.n), mine, strict=True)
    ]
    rows = mine[1] + outside[1]
    inside = np.where((other == ALL_ROWS) & (rows > 0), mine[1] / np.maximum(rows, 1), 0.0)
    left = np.maximum(1.0 - inside, 1e-12)
    sides = (*outside, *mine) if less else (*mine, *outside)
    if kind == "difference":
        return (*sides, np.ones_like(inside), limit / left)
    slope = (1.0 - limit * inside) / (limit * left) if less else left / np.maximum(limit - inside, 1e-12)
    return (*sides, slope, np.zeros_like(inside))

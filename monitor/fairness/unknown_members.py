"""What a disparity may be, from counts: with rows of no known group, or by a proxy that only guesses at membership."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.fairness.cells import GroupCells
from monitor.fairness.grouping import MISSING
from monitor.fairness.intervals import reported
from monitor.fairness.membership import Extremes, Kind, Possible, of_known, of_proxy, possible
from monitor.fairness.rates import GroupRate

# By value of a proxy: the share of its rows that belongs to each group.
Shares = Mapping[str, Mapping[str, float]]


def shares_by(proxies: Mapping[str, Shares], by: Sequence[str]) -> Shares | None:
    """The shares of a grouping by a column that only guesses at membership; None for other groupings.

    Empty for an intersection with such a column, whose groups are not bounded.

    Args:
        proxies: by name of such a column, its shares.
        by: the columns of the grouping.
    """
    found = [proxies[name] for name in by if name in proxies]
    if not found:
        return None
    return found[0] if len(by) == 1 else {}


@dataclass(frozen=True, slots=True)
class Membership:
    """What a disparity may be, since it is not known who belongs to which group.

    Attributes:
        by_proxy: whether membership is guessed from a proxy; else rows without a protected value are counted in.
        possible: its bounds, of the rate whose disparity may be worst.
        rate: name of that rate.
        between: the two groups that may differ most; None where it is undefined.
        groups: of each group: the lowest and the highest rate that it may have.
    """

    by_proxy: bool
    possible: Possible
    rate: str
    between: tuple[str, str] | None
    groups: dict[str, tuple[float | None, float | None]]


def with_missing(
    cells: GroupCells, compared: Sequence[int], rates: Sequence[GroupRate], kind: Kind
) -> Membership | None:
    """What the disparity may be if rows without a protected value are counted in; None where there are none.

    Args:
        cells: counts of all groups.
        compared: places of the groups that are compared.
        rates: the rates of the metric.
        kind: difference or ratio.
    """
    unknown = [at for at, levels in enumerate(cells.levels) if MISSING in levels]
    if not unknown or len(compared) < 2:
        return None
    found = []
    for rate in rates:
        read = rate.read(cells)
        if not read.is_share or read.hits is None:
            return None
        at = list(compared)
        missing_hits, missing = int(read.hits[unknown].sum()), int(read.n[unknown].sum())
        extremes = of_known(read.hits[at], read.n[at]).with_unknown(missing_hits, missing)
        found.append((rate.name, extremes, possible(extremes, kind, missing)))
    if not any(p.unknown for _, _, p in found):
        return None
    return _worst(found, [cells.names[i] for i in compared], kind, by_proxy=False)


def by_proxy(
    cells: GroupCells, rows: Sequence[int], rates: Sequence[GroupRate], kind: Kind, shares: Shares
) -> Membership | None:
    """What the disparity may be if each value of a protected column only says how likely membership is.

    Args:
        cells: counts by value of the column.
        rows: of each value, all rows that the metric reads.
        rates: the rates of the metric.
        kind: difference or ratio.
        shares: by value of the column; rows of other values may belong to any group.

    Returns:
        Bounds over every membership that the shares allow; None for rates that are no shares of rows.
    """
    names = sorted({name for one in shares.values() for name in one})
    at = [i for i, levels in enumerate(cells.levels) if levels[0] in shares]
    other = [i for i in range(len(cells.levels)) if i not in at]
    share = np.array([[shares[cells.levels[i][0]].get(name, 0.0) for name in names] for i in at]).reshape(
        -1, len(names)
    )
    found = []
    for rate in rates:
        read = rate.read(cells)
        if not read.is_share or read.hits is None:
            return None
        hits, n = read.hits, read.n
        extremes = of_proxy(hits[at], n[at] - hits[at], np.asarray(rows)[at], share)
        extremes = extremes.with_unknown(int(hits[other].sum()), int(n[other].sum()))
        found.append((rate.name, extremes, possible(extremes, kind, int(n.sum()))))
    return _worst(found, names, kind, by_proxy=True)


def _worst(
    found: Sequence[tuple[str, Extremes, Possible]], names: Sequence[str], kind: Kind, *, by_proxy: bool
) -> Membership:
    """The rate whose disparity may be worst; undefined where that of one rate is."""

    def badness(one: tuple[str, Extremes, Possible]) -> float:
        end = one[2].low if kind == "ratio" else one[2].high
        return np.inf if end is None else -end if kind == "ratio" else end

    rate, extremes, bounds = max(found, key=badness)
    low, high = extremes.rates
    groups = {name: (reported(low[i]), reported(high[i])) for i, name in enumerate(names)}
    between = None if bounds.pair is None else (names[bounds.pair[0]], names[bounds.pair[1]])
    return Membership(by_proxy, bounds, rate, between, groups)


def proxy_reason(found: Membership | None) -> str:
    """Why a disparity by a proxy has no value, and what it may be instead."""
    guessed = "the column only guesses at membership (a proxy)"
    if found is None:
        return f"{guessed}; bounds are known for shares of rows compared between groups"
    bounds = found.possible
    if bounds.low is None or bounds.high is None:
        return f"{guessed}, and {bounds.reason}"
    return f"{guessed}: the disparity lies between {bounds.low:.3f} and {bounds.high:.3f}"


def expected_rows(cells: GroupCells, rows: Sequence[int], shares: Shares) -> dict[str, int]:
    """Of each group that a proxy guesses at: the rows expected in it, rounded."""
    found = dict.fromkeys(sorted({name for one in shares.values() for name in one}), 0.0)
    for levels, n in zip(cells.levels, rows, strict=True):
        for name, share in shares.get(levels[0], {}).items():
            found[name] += n * share
    return {name: round(n) for name, n in found.items()}

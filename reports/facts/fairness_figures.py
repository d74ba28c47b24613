"""From counts per group cell to the lines of the officer's answer: rates, disparities, impact ratios. Pure."""

from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.fairness import Fairness, FairnessValue
from monitor.fairness.cells import GroupCells
from monitor.fairness.estimates import Estimates
from monitor.fairness.grouping import MISSING, grouped_by
from monitor.fairness.intervals import reported
from monitor.fairness.multiplicity import four_fifths
from monitor.fairness.numbers import (
    ERROR,
    EXACT,
    LENGTH,
    OF_NUMBERS,
    OF_SCORES,
    OF_TEXTS,
    PREDICTED,
    SCORING,
)
from monitor.fairness.rates import OF_CLASSES, SELECTION, GroupRate
from monitor.fairness.shrinkage import shrunk
from reports.fairness import CellLine, ImpactLine, ImpactTable, NamedGroup, RateLine

SMALL_SHARE: Final = 0.02  # of the rows: a category that 6 RCNY 5-301 allows to leave out of the ratio
LEFT_OUT: Final = "under 2 % of the rows: left out of the ratio, as 6 RCNY 5-301 allows"
RATES: Final[tuple[GroupRate, ...]] = (*OF_CLASSES, *OF_SCORES, *OF_NUMBERS, *OF_TEXTS)


def cell_lines(cells: GroupCells, min_cell: int, task: str) -> tuple[CellLine, ...]:
    """Every group with its rates; no group is left out, however small.

    Args:
        cells: counts of the groups, against the class whose rates these are.
        min_cell: rows below which a group is marked; its rates are then shown drawn towards those of all, too.
        task: of the model; rates of other tasks are left out, and those that no group has.
    """
    own = [rate for rate in RATES if rate.task == task and (cells.positive is not None or not rate.of_class)]
    read = {rate: rate.read(cells) for rate in own} if cells.names else {}
    found = {rate: estimates for rate, estimates in read.items() if estimates.n.any()}
    ends = {rate: estimates.interval() for rate, estimates in found.items()}
    drawn = {rate: _drawn(estimates) for rate, estimates in found.items()}
    rows, labelled = rows_of(cells, task), labelled_of(cells, task)
    return tuple(
        CellLine(
            by=grouped_by(cells.by), group=name, n=int(rows[i]), labelled=int(labelled[i]),
            small=int(rows[i]) < min_cell,
            rates=tuple(_rate_line(rate, e, ends[rate], drawn[rate], i, cells.positive) for rate, e in found.items()),
        )
        for i, name in enumerate(cells.names)
    )  # fmt: skip


def rows_of(cells: GroupCells, task: str) -> Ints:
    """Rows of each group that have an answer, shape (groups,)."""
    return cells.n if task == "classification" else _having(cells, PREDICTED if task == "regression" else LENGTH)


def labelled_of(cells: GroupCells, task: str) -> Ints:
    """Rows of each group that have an answer and an outcome, shape (groups,)."""
    return cells.labelled if task == "classification" else _having(cells, ERROR if task == "regression" else EXACT)


def _having(cells: GroupCells, measure: str) -> Ints:
    found = cells.sums.get(measure)
    return np.zeros(len(cells.names), dtype=np.int64) if found is None else found[:, 0].astype(np.int64)


def _drawn(found: Estimates) -> Floats | None:
    return shrunk(found.hits, found.n).rate if found.hits is not None and not found.odds else None


def _rate_line(
    rate: GroupRate, e: Estimates, ends: tuple[Floats, Floats], drawn: Floats | None, i: int, positive: str | None
) -> RateLine:
    value = reported(e.value[i])
    return RateLine(
        rate=rate.name, hits=None if e.hits is None else int(e.hits[i]), n=int(e.n[i]), value=value,
        low=None if value is None else reported(ends[0][i]), high=None if value is None else reported(ends[1][i]),
        shrunk=None if drawn is None else reported(drawn[i]),
        reason=None if value is not None else rate.without.format("right" if positive is None else repr(positive)),
    )  # fmt: skip


def pair_of(value: FairnessValue) -> tuple[str, tuple[NamedGroup, ...]]:
    """The rate in which the two groups behind a disparity lie apart, and the groups, the lower rate first."""
    if value.pair is None or value.value is None:
        return "", ()
    groups = {group.group: group for group in value.groups}
    others = [group.group for group in value.groups if not group.too_small and group.group not in value.pair]
    named = (value.pair[0], *others[:1]) if len({*value.pair}) == 1 else value.pair  # equal rates have no lowest
    sides = [groups[name] for name in named if name in groups]
    gaps = {}
    for rate in sides[0].rates if sides else ():
        rates = [side.rates.get(rate) for side in sides]
        against = sides[0].against.get(rate)
        known = [x for x in rates if x is not None]
        if against is not None:
            gaps[rate] = abs(against) if value.metric.endswith("_difference") else abs(np.log(max(against, 1e-12)))
        elif len(known) == len(rates) == 2:
            gaps[rate] = max(known) - min(known)
    if not gaps:
        return "", ()
    rate = max(gaps, key=lambda name: gaps[name])
    found = [NamedGroup(group=side.group, n=side.of.get(rate, side.n), value=side.rates[rate]) for side in sides]
    return rate, tuple(sorted(found, key=lambda one: (one.value is None, one.value)))


def impact_table(cells: GroupCells, positive: str) -> ImpactTable | None:
    """The table that New York City's Local Law 144 asks for; None without a row of a known category.

    Args:
        cells: counts of the categories over the period, against the class below.
        positive: the class that counts as selected.

    Source: 6 RCNY 5-300 and 5-301.
    """
    at = [i for i, levels in enumerate(cells.levels) if MISSING not in levels and int(cells.n[i])]
    if not at:
        return None
    known = cells.take(at)
    selection, scoring = SELECTION.read(known), SCORING.read(known)
    hits, n = np.asarray(selection.hits, dtype=np.int64), selection.n
    low, high = selection.interval()
    total = int(n.sum())
    tiny = n < SMALL_SHARE * total
    base = np.flatnonzero(~tiny) if (~tiny).sum() > 1 else np.arange(len(n))  # categories that the ratio is taken of
    others = {int(base[one.group]): one for one in four_fifths(hits[base], n[base])}
    highest = max((hits[i] / n[i] for i in base.tolist()), default=0.0)
    lines = []
    for i, name in enumerate(known.names):
        one, within = others.get(i), i in base
        ratio = None if not within or highest == 0 else float(hits[i] / n[i] / highest)
        why = LEFT_OUT if not within else "no category is ever selected" if ratio is None else None
        lines.append(
            ImpactLine(
                group=name, n=int(n[i]), selected=int(hits[i]), selection_rate=reported(selection.value[i]),
                low=reported(low[i]), high=reported(high[i]), impact_ratio=ratio, reason=why,
                p=None if one is None else one.p, adjusted_p=None if one is None else one.adjusted_p,
                scored=None if scoring.hits is None or not scoring.n[i] else int(scoring.hits[i]),
                scoring_rate=reported(scoring.value[i]), small=bool(tiny[i]),
            )
        )  # fmt: skip
    unknown = int(cells.n.sum()) - total
    return ImpactTable(by=grouped_by(cells.by), positive=positive, unknown=unknown, lines=tuple(lines))


def method_words(entry: Fairness) -> str:
    """How the interval of a disparity is made."""
    if not all(rate.unit == "share" for rate in entry.rates):
        return "Student's interval of each mean, joined for each pair (MOVER), over all pairs by Bonferroni"
    pairs = "Newcombe's score interval" if entry.disparity.name == "difference" else "Koopman's score interval"
    return f"{pairs} of each pair of groups, over all pairs by Bonferroni"

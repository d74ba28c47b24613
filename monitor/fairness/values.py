"""What every fairness metric shares: its entry in the catalogue, its value, and how counts make one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from core.errors import InvalidError
from monitor.fairness.bounds import Pairs, PairwiseBounds
from monitor.fairness.cells import CONFIDENCE, GroupCells
from monitor.fairness.comparisons import Compare, Compared, Disparity, by_fairlearn, compared
from monitor.fairness.counts import GroupCounts
from monitor.fairness.grouping import MIN_GROUP, MISSING, grouped_by
from monitor.fairness.intervals import reported
from monitor.fairness.multiplicity import adjusted_p
from monitor.fairness.positive import Positive, positive_class
from monitor.fairness.rates import GroupRate, Task
from monitor.fairness.result import FairnessValue, GroupRates
from monitor.fairness.unknown_members import Shares, by_proxy, expected_rows, proxy_reason, with_missing

MAX_CLASSES: Final = 20  # of many classes, how many are listed with their value


@dataclass(frozen=True)
class Fairness:
    """One entry of the catalogue: a rate, or several of which the worst counts, and how groups are compared.

    Attributes:
        micro: the rate that is compared, without a class, where there are more than two classes; None: each class is
            compared with the rest, and the worst one counts.
        compare: what groups are compared with unless a rule says so.
        directed: whether a ratio is that of group to base only (`monitor.fairness.comparisons.compared`).
        exact_test: whether the two groups behind the value are tested by Fisher's exact test.
        words: what the metric asks, for people.
        source: where it is defined.
    """

    name: str
    rates: tuple[GroupRate, ...]
    disparity: Disparity
    words: str
    source: str
    micro: GroupRate | None = None
    compare: Compare = "between"
    directed: bool = False
    exact_test: bool = False

    @property
    def unit(self) -> str:
        return "ratio" if self.disparity.name == "ratio" else self.rates[0].unit

    @property
    def higher_is_better(self) -> bool:
        return self.disparity.higher_is_better

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*(rate.needs for rate in self.rates))

    @property
    def needs_outcome(self) -> bool:
        return "outcome" in self.needs

    @property
    def task(self) -> Task:
        return self.rates[0].task

    def compute(
        self, counts: GroupCounts, by: Sequence[str], *, positive: str | None = None, key: str = "positive",
        truth: bool = False, assume: bool = False, min_group: int = MIN_GROUP, compare: Compare | None = None,
        reference: str | None = None, shares: Shares | None = None,
    ) -> FairnessValue:  # fmt: skip
        """The worst disparity among the metric's rates and the compared groups.

        Args:
            counts: of the rows; those without a prediction, or without an outcome where the metric reads one, are left
                out.
            by: the protected columns whose intersection forms the groups.
            positive, key, truth, assume: the declared class and how it is read (`positive_class`).
            min_group: size of the smallest group that is compared, rows.
            compare: what groups are compared with; None: as the metric does.
            reference: for `reference`: the group that others are compared with.
            shares: of a column that only guesses at membership: by value, the share of its rows in each group. There is
                then no value, only `membership`.

        Returns:
            The value with its interval, and every group with its rates. None, with a reason, where no class is known to
            be positive, a compared group has no row that a rate is of, a ratio's base is 0, or too few groups are left.

        Raises:
            InvalidError: a column is not counted, or min_group is below 1.

        Source: that of the metric; the value equals that of fairlearn's MetricFrame where that has it.
        """
        if min_group < 1:
            raise InvalidError(f"min_group is {min_group}; give at least 1 row", min_group=min_group)
        counts = counts.over(by)  # once, for many classes are read from it
        how = _How(self, tuple(by), min_group, compare or self.compare, reference)
        classes = counts.classes(outcome=self.needs_outcome) if self.task == "classification" else {}
        of_prediction = "score" in self.needs and CONFIDENCE in counts.measures  # is right or wrong, whatever the class
        if of_prediction or not any(rate.of_class for rate in self.rates):
            return how.value(counts.cells(by, None), self.rates, Positive(None, "none"), shares=shares)
        found = positive_class(positive, classes, key=key, truth=truth, assume=assume)
        if found.source != "each class":
            cells = counts.cells(by, found.level or "")
            if found.reason:
                return how.undefined(cells, self.rates if found.level else (), found, found.reason)
            return how.value(cells, self.rates, found, shares=shares)
        if shares is not None:
            reason = "membership is guessed from a proxy, which is bounded for one class: declare `positive`"
            return how.undefined(counts.cells(by, None), (), found, reason)
        return how.worst_class(counts, classes, self.micro, found)


@dataclass(frozen=True)
class _How:
    """One computation of one metric."""

    metric: Fairness
    by: tuple[str, ...]
    min_group: int
    compare: Compare
    reference: str | None

    def sizes(self, cells: GroupCells) -> list[int]:
        """Rows of each group that the metric reads."""
        if self.metric.task != "classification":
            return [int(n) for n in self.metric.rates[0].read(cells).n]
        return [int(n) for n in (cells.labelled if self.metric.needs_outcome else cells.n)]

    def compared(self, cells: GroupCells) -> list[int]:
        """Places of the groups that are compared: large enough, and known."""
        return [at for at, n in enumerate(self.sizes(cells)) if n >= self.min_group and MISSING not in cells.levels[at]]

    def worst_class(
        self, counts: GroupCounts, classes: dict[str, int], micro: GroupRate | None, found: Positive
    ) -> FairnessValue:
        """Each class against the rest: the worst value among those that occur often enough in compared groups."""
        right = counts.cells(self.by, None)
        if micro is not None and len(classes) > MAX_CLASSES:  # the value needs none of them, and they take time
            return self.value(right, (micro,), found, micro=True)
        seen = [(name, counts.cells(self.by, name)) for name in classes]
        kept = [(name, cells) for name, cells in seen if self._often(cells)]
        values = [(name, self.disparity(cells)) for name, cells in kept]
        defined = sorted(
            ((name, v) for name, v in values if np.isfinite(v)),
            key=lambda one: (one[1] if self.metric.higher_is_better else -one[1], one[0]),
        )
        if micro is not None:
            return replace(self.value(right, (micro,), found, micro=True), classes=tuple(defined[:MAX_CLASSES]))
        if not defined:
            if small := self.too_few(right):
                return self.undefined(right, (), found, small)
            what = "predicted" if not self.metric.needs_outcome else "defined with"
            why = (
                f"no class is {what} at least {self.min_group} times"
                if not kept
                else "no class has rates in all groups"
            )
            return self.undefined(right, (), found, f"{why} among the compared groups")
        name = defined[0][0]
        cells = next(cells for other, cells in kept if other == name)
        told = self.value(cells, self.metric.rates, Positive(name, "each class"), candidates=len(kept))
        return replace(told, classes=tuple(defined[:MAX_CLASSES]))

    def _often(self, cells: GroupCells) -> bool:
        at = self.compared(cells)
        counts = cells.counts[at]
        rows = counts[:, 1].sum() if self.metric.needs_outcome else counts[..., 1].sum()
        return int(rows) >= self.min_group

    def disparity(self, cells: GroupCells) -> float:
        """The worst disparity among the rates; nan if one is undefined."""
        found = [one.value for one in self._each(cells, self.metric.rates)]
        return found[self.metric.disparity.worst(found)] if np.isfinite(found).all() else float("nan")

    def _each(self, cells: GroupCells, rates: Sequence[GroupRate]) -> list[Compared]:
        at = self.compared(cells)
        names = [cells.names[i] for i in at]
        reference = names.index(self.reference) if self.reference in names else None
        if self.compare == "reference" and reference is None:
            return [Compared(float("nan"), np.full(len(at), np.nan), None, float("nan")) for _ in rates]
        return [
            compared(
                rate.read(cells.take(at)).value, self.metric.disparity, self.compare,
                overall=float(rate.read(cells.overall).value[0]), reference=reference,
                lowest=rate.best == "lowest", directed=self.metric.directed,
            )
            for rate in rates
        ]  # fmt: skip

    def too_few(self, cells: GroupCells) -> str | None:
        """The reason to report if there are too few groups to compare; None if there are enough."""
        at = self.compared(cells)
        names, sizes = [cells.names[i] for i in at], self.sizes(cells)
        told = ", ".join(f"{name}: {n}" for name, n in zip(cells.names, sizes, strict=True)) or "no rows"
        if self.metric.needs_outcome and cells.names and not any(sizes):
            return "no outcome is known yet for any row"
        if self.compare == "reference" and self.reference not in names:
            if self.reference in cells.names:
                n = sizes[cells.names.index(self.reference)]
                small = f"has {n} rows, below the minimum of {self.min_group}"
                return f"the reference group {self.reference!r} {small} ({told})"
            return f"the reference group {self.reference!r} does not occur ({told})"
        if len(at) >= 2 or (len(at) == 1 and self.compare == "overall" and len(cells.names) > 1):
            return None
        return f"fewer than two groups of at least {self.min_group} rows ({told})"

    def undefined(
        self, cells: GroupCells, rates: Sequence[GroupRate], positive: Positive, reason: str
    ) -> FairnessValue:  # fmt: skip
        groups = self._groups(cells, rates, [])
        return FairnessValue(
            self.metric.name, grouped_by(self.by), None, reason, self.definition(positive, rates or self.metric.rates),
            positive.level, groups, sum(g.n for g in groups), source=positive.source, compare=self.compare,
        )  # fmt: skip

    def value(
        self, cells: GroupCells, rates: Sequence[GroupRate], positive: Positive, *, candidates: int = 1,
        micro: bool = False, shares: Shares | None = None,
    ) -> FairnessValue:  # fmt: skip
        """The worst disparity among some rates, with its interval and the rates themselves."""
        if shares is not None:
            return self.guessed(cells, rates, positive, shares)
        if reason := self.too_few(cells):
            return self.undefined(cells, rates, positive, reason)
        disparity, at = self.metric.disparity, self.compared(cells)
        each = self._each(cells, rates)
        if not np.isfinite([one.value for one in each]).all():
            return self.undefined(cells, rates, positive, self._why(cells, rates, each, positive))
        worst = disparity.worst([one.value for one in each])
        kept = cells.take(at)
        bounds = self._bounds(cells, kept, rates, candidates)
        low, high = bounds.interval()
        groups = self._groups(cells, rates, each)
        again = None
        if all(rate.library for rate in rates) and self.compare != "reference" and not self.metric.directed:
            source = cells if self.compare == "overall" else kept
            if self.compare != "overall" or len(at) == len(cells.names):
                again = partial(by_fairlearn, source, rates, disparity, self.compare)
        definition = self.definition(positive, rates, micro=micro)
        between = self.compare in ("between", "best") and positive.source != "each class"
        member = with_missing(cells, at, rates, disparity.name) if between else None
        return FairnessValue(
            self.metric.name, grouped_by(self.by), each[worst].value, None, definition, positive.level, groups,
            sum(g.n for g in groups), low, high, positive.source, self.compare, _named(kept, each[worst]),
            p=self._exact_p(kept, rates[worst], each[worst]), membership=member, bounds=bounds,
            second_opinion=again,
        )  # fmt: skip

    def guessed(
        self, cells: GroupCells, rates: Sequence[GroupRate], positive: Positive, shares: Shares
    ) -> FairnessValue:
        """What the disparity may be, of a column that only guesses at membership."""
        found = None
        if self.compare in ("between", "best"):
            found = by_proxy(cells, self.sizes(cells), rates, self.metric.disparity.name, shares)
        told = replace(self.undefined(cells, rates, positive, proxy_reason(found)), membership=found)
        expected = expected_rows(cells, self.sizes(cells), shares)
        ranges = {} if found is None else found.groups
        groups = tuple(
            GroupRates(name, n, {}, n < self.min_group, {found.rate: ranges[name]} if found and name in ranges else {})
            for name, n in expected.items()
        )
        return replace(told, groups=groups)

    def _exact_p(self, cells: GroupCells, rate: GroupRate, one: Compared) -> float | None:
        """Of the two groups behind the value, where the metric has a test."""
        if not self.metric.exact_test or one.pair is None or one.pair[1] is None:
            return None
        from scipy.stats import fisher_exact

        found = rate.read(cells.take([one.pair[0], one.pair[1]]))
        assert found.hits is not None
        return float(fisher_exact(np.stack([found.hits, found.n - found.hits])).pvalue)

    def _bounds(
        self, cells: GroupCells, kept: GroupCells, rates: Sequence[GroupRate], candidates: int
    ) -> PairwiseBounds:
        rest = cells.rest.take(self.compared(cells))
        reference = kept.names.index(self.reference) if self.reference in kept.names else None
        pairs = [
            Pairs.of(
                rate.read(kept), self.compare, rest=rate.read(rest) if self.compare == "overall" else None,
                reference=reference, directed=self.metric.directed and self.compare == "reference",
            )
            for rate in rates
        ]  # fmt: skip
        ratio = self.metric.disparity.name == "ratio"
        bounded = not self.metric.directed if ratio else self.metric.unit == "share"
        return PairwiseBounds(pairs, self.metric.disparity, candidates, 1.0 if bounded else None)

    def _why(self, cells: GroupCells, rates: Sequence[GroupRate], each: Sequence[Compared], positive: Positive) -> str:
        at = self.compared(cells)
        told = repr(positive.level) if positive.level is not None else "right"
        for rate, one in zip(rates, each, strict=True):
            lacking = [cells.names[i] for i, ok in zip(at, rate.read(cells.take(at)).defined, strict=True) if not ok]
            if lacking:
                return f"the {rate.words} is undefined for {', '.join(lacking)}: {rate.without.format(told)}"
            if self.metric.disparity.name == "ratio" and not np.isfinite(one.value):
                found = rate.read(cells.take(at)).value
                if below := [cells.names[i] for i, value in zip(at, found, strict=True) if value < 0]:
                    return (
                        f"the {rate.words} is below 0 for {', '.join(below)}, so it has no ratio; take the difference"
                    )
                if self.compare == "between":
                    ever = f"; no group is ever {told}" if rate.of_class else ""
                    return f"the {rate.words} is 0 in every group, so it has no ratio{ever}"
                base = {"overall": "all rows", "reference": repr(self.reference), "best": "the best group"}[
                    self.compare
                ]
                return f"the {rate.words} of {base} is {one.base:g}, and nothing can be divided by it"
        return "it is undefined for these rows"

    def definition(self, positive: Positive, rates: Sequence[GroupRate], *, micro: bool = False) -> str:
        """What is computed, in one sentence."""
        names = " and ".join(rate.words for rate in rates)
        against = {"between": "", "best": " to the best group", "overall": " to all rows",
                   "reference": f" to {self.reference}"}[self.compare]  # fmt: skip
        worst = "the worse of " if len(rates) > 1 else ""
        what = self.metric.disparity.words if self.compare == "between" else f"largest {self.metric.disparity.name}"
        if self.compare != "between" and self.metric.higher_is_better:
            what = "smallest ratio"
        text = f"{worst}{what} {names}{against}"
        if micro:
            return (
                f"{text}; more than two classes: micro-averaged over classes, one against the rest, which equals the "
                "accuracy of a group (share of its rows given the right class)"
            )
        if any(rate.of_class for rate in rates):
            text += f" for {positive.level!r}" if positive.level is not None else " for each class"
        if positive.source == "assumed":
            text += " (class assumed: the spec declares none, and this is the last in order)"
        elif positive.source == "each class" and positive.level is not None:
            text += f", the class with the worst value among those that occur at least {self.min_group} times"
        return text

    def _groups(
        self, cells: GroupCells, rates: Sequence[GroupRate], each: Sequence[Compared]
    ) -> tuple[GroupRates, ...]:
        sizes, at = self.sizes(cells), self.compared(cells)
        place = {group: i for i, group in enumerate(at)}
        read = {rate.name: rate.read(cells) for rate in rates} if cells.names else {}
        ends = {name: found.interval() for name, found in read.items()}
        known = [i for i, levels in enumerate(cells.levels) if MISSING not in levels]
        p = {name: adjusted_p(e.hits, e.n, known) for name, e in read.items() if e.is_share and e.hits is not None}
        return tuple(
            GroupRates(
                name, sizes[i], {rate: reported(found.value[i]) for rate, found in read.items()}, i not in place,
                {rate: (reported(low[i]), reported(high[i])) for rate, (low, high) in ends.items()},
                {rate: int(found.n[i]) for rate, found in read.items()},
                {rate.name: reported(one.against[place[i]]) for rate, one in zip(rates, each, strict=False)}
                if i in place and self.compare != "between" else {},
                {rate: of_group[i] for rate, of_group in p.items() if i in of_group},
            )
            for i, name in enumerate(cells.names)
        )  # fmt: skip


def _named(cells: GroupCells, one: Compared) -> tuple[str, str] | None:
    if one.pair is None:
        return None
    first, second = one.pair
    return cells.names[first], "all rows" if second is None else cells.names[second]

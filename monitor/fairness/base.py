"""What every fairness metric shares: its entry in the catalogue, its value, and how rates and disparity make one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from core.arrays import Floats
from monitor.fairness.bounds import PairwiseBounds
from monitor.fairness.disparities import Disparity, by_fairlearn, of_counts
from monitor.fairness.grouping import BinaryRows, Grouped
from monitor.fairness.rates import GroupRate


@dataclass(frozen=True)
class GroupRates:
    """Rates of one group. A rate is None if its denominator is 0. Groups that are too small are not compared."""

    group: str
    n: int
    rates: dict[str, float | None]
    too_small: bool


@dataclass(frozen=True)
class FairnessValue:
    """The value of a fairness metric; None with a `reason` if it is undefined.

    `definition` states in one sentence what was computed. `positive` is the class whose rates were compared; with more
    than two classes, the worst one. `low` and `high` are the ends of its 95 % interval. The largest
    difference is never negative, so chance alone makes it positive; a limit is therefore judged by `bounds`.
    `second_opinion` computes the value again, from the rows, with fairlearn.
    """

    metric: str
    by: str
    value: float | None
    reason: str | None
    definition: str
    positive: str | None
    groups: tuple[GroupRates, ...]
    n: int
    low: float | None = None
    high: float | None = None
    bounds: PairwiseBounds | None = field(default=None, compare=False, repr=False)
    second_opinion: Callable[[], float] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Fairness:
    """One entry of the catalogue: `compute(frame, by, positive=..., min_group=...)`."""

    name: str
    unit: str
    higher_is_better: bool
    needs_outcome: bool
    compute: Callable[..., FairnessValue]


def undefined(metric: str, data: Grouped, definition: str, reason: str) -> FairnessValue:
    """A metric for which no rate can be compared.

    Args:
        metric: name of the metric.
        data: the groups.
        definition: what would be computed, in one sentence.
        reason: why it is undefined.

    Returns:
        A value of None with the reason, and all groups with their sizes.
    """
    return FairnessValue(metric, data.by, None, reason, definition, None, _groups(data, {}), data.n)


def compared(
    metric: str, data: Grouped, rows: BinaryRows, rates: Sequence[GroupRate], disparity: Disparity,
    *, definition: str, positive: str | None, if_undefined: str, candidates: int = 1,
) -> FairnessValue:  # fmt: skip
    """The worst disparity among some rates between the compared groups, with its interval and the rates themselves.

    Args:
        metric: name of the metric.
        data: the groups.
        rows: the compared rows as a decision between two answers, shape (rows,).
        rates: the rates that are compared.
        disparity: how they are compared.
        definition: what is computed, in one sentence.
        positive: the class that counts as positive; None if every class does.
        if_undefined: the reason to report if a rate, or the disparity, is undefined.
        candidates: classes of which `positive` was chosen as the worst.

    Returns:
        Value in the disparity's unit with its 95 % interval.

    Source: Agarwal et al. (2018) and Hardt, Price and Srebro (2016); the value equals that of fairlearn's MetricFrame.
    """
    counts = rows.counts
    groups = _groups(data, {rate.name: rate.of(counts) for rate in rates})
    value = float(of_counts(counts, rates, disparity))
    if not np.isfinite(value):
        return FairnessValue(metric, data.by, None, if_undefined, definition, positive, groups, data.n)
    bounds = PairwiseBounds([rate.parts(counts) for rate in rates], disparity, candidates)
    low, high = bounds.interval()
    again = partial(by_fairlearn, rows, rates, disparity)
    return FairnessValue(metric, data.by, value, None, definition, positive, groups, data.n, low, high, bounds, again)


def _groups(data: Grouped, rates: Mapping[str, Floats]) -> tuple[GroupRates, ...]:
    place = {g: i for i, g in enumerate(data.compared)}
    return tuple(
        GroupRates(
            group,
            n,
            {name: _defined(values[place[group]]) for name, values in rates.items()} if group in place else {},
            data.too_small(group),
        )
        for group, n in data.sizes.items()
    )


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""What the rates of groups are compared with, and how: between groups, to all rows, to a named group, to the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from core.arrays import Floats
from monitor.fairness.cells import GroupCells
from monitor.fairness.rates import GroupRate

Kind = Literal["difference", "ratio"]
Compare = Literal["between", "overall", "reference", "best"]
COMPARE: Final[dict[Compare, str]] = {
    "between": "the two groups that are furthest apart",
    "overall": "each group with all rows together",
    "reference": "each group with the group that `reference` names",
    "best": "each group with the one that has the best rate",
}


@dataclass(frozen=True)
class Disparity:
    """How two rates are compared; `name` is the method of fairlearn's MetricFrame too."""

    name: Kind
    words: str
    unit: str
    higher_is_better: bool

    def worst(self, values: Sequence[float]) -> int:
        """Where the worst value is."""
        return int(np.argmin(values) if self.higher_is_better else np.argmax(values))


DIFFERENCE: Final = Disparity("difference", "largest - smallest", "share", higher_is_better=False)
RATIO: Final = Disparity("ratio", "smallest / largest", "ratio", higher_is_better=True)
DISPARITIES: Final = {disparity.name: disparity for disparity in (DIFFERENCE, RATIO)}


@dataclass(frozen=True, eq=False)
class Compared:
    """A disparity of one rate.

    Attributes:
        value: the disparity; nan if it is undefined.
        against: of each group: its rate minus, or divided by, what it is compared with, shape (groups,).
        pair: places of the two groups behind the value; the second is None where it is all rows together.
        base: the rate that groups are compared with; nan between groups.
    """

    value: float
    against: Floats
    pair: tuple[int, int | None] | None
    base: float


def compared(
    rates: Floats, disparity: Disparity, compare: Compare, *, overall: float = np.nan, reference: int | None = None,
    lowest: bool = False, directed: bool = False,
) -> Compared:  # fmt: skip
    """The worst disparity of one rate among groups.

    Args:
        rates: of each compared group, shape (groups,), at least one.
        disparity: difference or ratio.
        compare: what groups are compared with.
        overall: the rate of all rows, for `overall`.
        reference: place of the named group, for `reference`.
        lowest: whether the lowest rate is the best one, for `best`.
        directed: whether a ratio is that of group to base, which exceeds 1 where the group has more; else the smaller
            of it and its inverse.

    Returns:
        Difference >= 0, 0 at parity; or ratio, 1 at parity. nan where a rate is nan or below 0 in a ratio, where a
        ratio's base is 0, and between groups if every rate is 0.

    Source: fairlearn's MetricFrame.difference and .ratio with between_groups and to_overall; Aequitas's disparities to
    a reference group; 6 RCNY 5-301 for the ratio to the best.
    """
    nowhere = Compared(np.nan, np.full(len(rates), np.nan), None, np.nan)
    if not len(rates) or not np.isfinite(rates).all() or (disparity.name == "ratio" and (rates < 0).any()):
        return nowhere
    other: int | None = reference
    if compare == "between":
        low, high = int(np.argmin(rates)), int(np.argmax(rates))
        high = min(low + 1, len(rates) - 1) if low == high else high  # all alike: two groups are named, not one twice
        gap = rates[high] - rates[low]
        value = gap if disparity.name == "difference" else np.nan if rates[high] == 0 else rates[low] / rates[high]
        return Compared(float(value), np.full(len(rates), np.nan), (low, high), np.nan)
    if compare == "best":
        other = int(np.argmin(rates) if lowest else np.argmax(rates))
    base = overall if compare == "overall" else float(rates[other]) if other is not None else np.nan
    if not np.isfinite(base) or (disparity.name == "ratio" and base == 0.0):
        return Compared(np.nan, nowhere.against, None, base)
    if disparity.name == "difference":
        against, far = rates - base, np.abs(rates - base)
    else:
        against = rates / base
        above = against > 1.0
        far = (
            against if directed else np.where(above, np.divide(1.0, against, out=against.copy(), where=above), against)
        )
    if other is not None and compare != "overall":
        far = np.delete(far, other)
        at = np.delete(np.arange(len(rates)), other)
    else:
        at = np.arange(len(rates))
    if not len(far):
        return Compared(np.nan, against, None, base)
    worst = disparity.worst(far.tolist())
    return Compared(float(far[worst]), against, (int(at[worst]), None if compare == "overall" else other), base)


def by_fairlearn(cells: GroupCells, rates: Sequence[GroupRate], disparity: Disparity, compare: Compare) -> float:
    """The worst disparity among some rates, as fairlearn computes it: the second opinion on an alarm.

    Args:
        cells: counts of the compared groups; every rate is defined for every group.
        rates: the rates that are compared; each has a `library`.
        disparity: difference or ratio.
        compare: `overall`, or any other, which fairlearn calls between groups.

    Returns:
        Value in the disparity's unit.

    Source: Hardt, Price and Srebro (2016) for the worst of several rates; computed by fairlearn.metrics.MetricFrame.
    """
    from fairlearn.metrics import MetricFrame

    kept = cells.counts if not any(rate.needs_outcome for rate in rates) else cells.counts[:, :2]
    group, outcome, prediction = (np.repeat(at.ravel(), kept.ravel()) for at in np.indices(kept.shape))
    frame: Any = MetricFrame(
        metrics={rate.name: _loaded(rate) for rate in rates}, y_true=outcome % 2, y_pred=prediction,
        sensitive_features=group,
    )  # fmt: skip
    method = "to_overall" if compare == "overall" else "between_groups"
    found = np.asarray(getattr(frame, disparity.name)(method=method), dtype=np.float64)
    return float(found.min() if disparity.higher_is_better else found.max())


def _loaded(rate: GroupRate) -> Callable[..., Any]:
    assert rate.library is not None
    return rate.library()

"""How unequal the rates of groups are: one table of disparities, computed from counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from core.arrays import Floats, Ints
from monitor.fairness.grouping import BinaryRows
from monitor.fairness.rates import GroupRate


@dataclass(frozen=True)
class Disparity:
    """`between` reads the rates of groups on the last axis; `name` is the method of fairlearn's MetricFrame too."""

    name: Literal["difference", "ratio"]
    words: str
    unit: str
    higher_is_better: bool
    between: Callable[[Floats], Floats]

    def worst(self, values: Floats) -> Floats:
        """The worst along the first axis; nan if one is nan."""
        found = values.min(axis=0) if self.higher_is_better else values.max(axis=0)
        return np.asarray(found, dtype=np.float64)

    def where_worst(self, values: Sequence[float]) -> int:
        return int(np.argmin(values) if self.higher_is_better else np.argmax(values))


def difference(rates: Floats) -> Floats:
    """Largest minus smallest rate.

    Args:
        rates: shares 0..1, shape (..., groups).

    Returns:
        Differences 0..1, shape (...); nan if a rate is nan.

    Source: fairlearn's MetricFrame.difference, between groups.
    """
    return np.asarray(rates.max(axis=-1) - rates.min(axis=-1), dtype=np.float64)


def ratio(rates: Floats) -> Floats:
    """Smallest divided by largest rate.

    Args:
        rates: shares 0..1, shape (..., groups).

    Returns:
        Ratios 0..1, shape (...); nan if every rate is 0, or if a rate is nan.

    Source: fairlearn's MetricFrame.ratio, between groups.
    """
    largest = rates.max(axis=-1)
    out = np.full(np.shape(largest), np.nan)
    np.divide(rates.min(axis=-1), largest, out=out, where=largest > 0)
    return out


def of_counts(counts: Ints, rates: Sequence[GroupRate], disparity: Disparity) -> Floats:
    """The worst disparity among some rates, from counts.

    Args:
        counts: rows per (group, outcome, prediction), shape (..., groups, 2, 2).
        rates: the rates that are compared.
        disparity: how they are compared.

    Returns:
        Values in the disparity's unit, shape (...); nan if undefined.

    Source: Hardt, Price and Srebro (2016) for the worst of several rates; the value of fairlearn's MetricFrame.
    """
    return disparity.worst(np.stack([disparity.between(rate.of(counts)) for rate in rates]))


def by_fairlearn(rows: BinaryRows, rates: Sequence[GroupRate], disparity: Disparity) -> float:
    """The worst disparity among some rates, as fairlearn computes it: the second opinion on an alarm.

    Args:
        rows: the compared rows, shape (rows,); every rate is defined for every group.
        rates: the rates that are compared.
        disparity: how they are compared.

    Returns:
        Value in the disparity's unit.

    Source: Hardt, Price and Srebro (2016) for the worst of several rates; computed by fairlearn.metrics.MetricFrame.
    """
    from fairlearn.metrics import MetricFrame

    frame: Any = MetricFrame(
        metrics={rate.name: rate.library() for rate in rates},
        y_true=rows.outcome,
        y_pred=rows.prediction,
        sensitive_features=rows.group,
    )
    found = getattr(frame, disparity.name)(method="between_groups")
    return float(disparity.worst(np.asarray(found, dtype=np.float64)))


DIFFERENCE: Final = Disparity("difference", "largest - smallest", "share", False, difference)
RATIO: Final = Disparity("ratio", "smallest / largest", "ratio", True, ratio)

DISPARITIES: Final = {disparity.name: disparity for disparity in (DIFFERENCE, RATIO)}

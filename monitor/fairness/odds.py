"""Equalized odds: is the model right, and wrong, equally often for every group?"""

from functools import partial
from typing import Final

import polars as pl

from monitor.fairness.base import Fairness, FairnessValue, compared, undefined
from monitor.fairness.disparities import DIFFERENCE, Disparity
from monitor.fairness.grouping import (
    MIN_GROUP,
    against_rest,
    grouped,
    positive_class,
    right_or_wrong,
    too_few_groups,
)
from monitor.fairness.rates import ACCURACY, FALSE_POSITIVE, TRUE_POSITIVE

_TWO: Final = (
    "the larger of the two gaps (largest - smallest group) in true positive rate and false positive rate for {!r}"
)
_MORE: Final = (
    "more than two classes: micro-averaged over classes, one against the rest, which equals the largest - smallest "
    "accuracy of a group (share of its rows given the right class)"
)


def equalized_odds(
    frame: pl.DataFrame, by: str, *, disparity: Disparity, positive: str | None = None, min_group: int = MIN_GROUP
) -> FairnessValue:
    """Worst disparity between groups in true positive rate or false positive rate.

    Args:
        frame: columns prediction, outcome and `by` of any type, shape (rows,); rows without prediction or outcome are
            left out.
        by: the protected column.
        disparity: difference (largest minus smallest rate).
        positive: the class whose rates are compared. By default, with two classes it is the last in order. With more
            classes, rates are micro-averaged over the classes, one against the rest. The true positive rate is then
            the accuracy and the false positive rate (1 - accuracy) / (classes - 1), so the gap is that of the accuracy.
        min_group: size of the smallest group that is compared, rows.

    Returns:
        Difference 0..1, 0 at equal odds, with its 95 % interval. None with fewer than two groups of min_group
        rows, or if in a compared group no outcome, or every outcome, is positive.

    Raises:
        InvalidError: a column is absent, or min_group is below 1.

    Source: Hardt, Price and Srebro (2016); the value equals that of fairlearn.metrics.MetricFrame.
    """
    metric = f"equalized_odds_{disparity.name}"
    data = grouped(frame, by, min_group=min_group, outcome=True)
    chosen = positive_class(data, positive)
    definition = _MORE if chosen is None else _TWO.format(chosen)
    if reason := too_few_groups(data, min_group):
        return undefined(metric, data, definition, reason)
    rows = right_or_wrong(data) if chosen is None else against_rest(data, chosen)
    rates = (ACCURACY,) if chosen is None else (TRUE_POSITIVE, FALSE_POSITIVE)
    return compared(
        metric, data, rows, rates, disparity, definition=definition, positive=chosen,
        if_undefined=f"a compared group has no row with, or none without, the outcome {chosen!r}",
    )  # fmt: skip


METRICS: Final = tuple(
    Fairness(
        name=f"equalized_odds_{disparity.name}",
        unit=disparity.unit,
        higher_is_better=disparity.higher_is_better,
        needs_outcome=True,
        compute=partial(equalized_odds, disparity=disparity),
    )
    for disparity in (DIFFERENCE,)
)

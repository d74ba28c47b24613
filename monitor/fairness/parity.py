"""Demographic parity: does every group get an answer equally often, whether the answer is right or not?"""

from functools import partial
from typing import Final

import polars as pl

from monitor.fairness.base import Fairness, FairnessValue, compared, undefined
from monitor.fairness.disparities import DISPARITIES, Disparity, of_counts
from monitor.fairness.grouping import MIN_GROUP, Grouped, against_rest, grouped, positive_class, too_few_groups
from monitor.fairness.rates import SELECTION

_RATES: Final = (SELECTION,)
_TWO: Final = "{disparity} selection rate; selection rate = share of a group's rows predicted {positive!r}"
_MORE: Final = "; {positive!r} is the class with the worst value among those predicted at least {least} times"


def demographic_parity(
    frame: pl.DataFrame, by: str, *, disparity: Disparity, positive: str | None = None, min_group: int = MIN_GROUP
) -> FairnessValue:
    """Disparity of the selection rate between groups.

    Args:
        frame: columns prediction and `by` of any type, shape (rows,); rows without a prediction are left out.
        by: the protected column.
        disparity: difference (largest minus smallest rate) or ratio (smallest divided by largest).
        positive: the class whose selection rate is compared. By default, with two classes it is the last in order.
            With more classes, each class is compared against the rest, and the worst one is reported and named.
        min_group: size of the smallest group that is compared, rows.

    Returns:
        Difference 0..1, 0 at parity; or ratio 0..1, 1 at parity (the four-fifths rule asks for 0.8). With its 95 %
        interval. None with fewer than two groups of min_group rows, with many classes of which none is
        predicted min_group times, and as a ratio if no group is ever predicted the class.

    Raises:
        InvalidError: a column is absent, or min_group is below 1.

    Source: Agarwal et al. (2018); the value equals that of fairlearn.metrics.MetricFrame.
    """
    metric = f"demographic_parity_{disparity.name}"
    data = grouped(frame, by, min_group=min_group, outcome=False)
    chosen, definition = positive_class(data, positive), _TWO
    if reason := too_few_groups(data, min_group):
        definition = _TWO.format(disparity=disparity.words, positive=chosen or "each class")
        return undefined(metric, data, definition, reason)
    candidates = 1
    if chosen is None:
        (chosen, candidates), definition = _worst_class(data, disparity, min_group), _TWO + _MORE
    if chosen is None:
        definition = _TWO.format(disparity=disparity.words, positive="each class")
        return undefined(metric, data, definition, f"no class is predicted at least {min_group} times")
    return compared(
        metric, data, against_rest(data, chosen), _RATES, disparity, positive=chosen,
        definition=definition.format(disparity=disparity.words, positive=chosen, least=min_group),
        if_undefined=f"no group is ever predicted {chosen!r}", candidates=candidates,
    )  # fmt: skip


def _worst_class(data: Grouped, disparity: Disparity, min_group: int) -> tuple[str | None, int]:
    """The class with the worst disparity among those that are predicted often enough, if any, and their number."""
    frequency = data.frame["prediction"].value_counts()
    classes = sorted(frequency.filter(pl.col("count") >= min_group)["prediction"].to_list())
    if not classes:
        return None, 1
    values = [float(of_counts(against_rest(data, name).counts, _RATES, disparity)) for name in classes]
    return str(classes[disparity.where_worst(values)]), len(classes)


METRICS: Final = tuple(
    Fairness(
        name=f"demographic_parity_{disparity.name}",
        unit=disparity.unit,
        higher_is_better=disparity.higher_is_better,
        needs_outcome=False,
        compute=partial(demographic_parity, disparity=disparity),
    )
    for disparity in DISPARITIES.values()
)

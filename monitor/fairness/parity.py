"""Demographic parity: do groups get an answer equally often, whether it is right or not?"""

from typing import Final

import numpy as np
import polars as pl

from core.arrays import Floats, Ints
from monitor.fairness.base import (
    MINIMUM_GROUP,
    Fairness,
    FairnessValue,
    Grouped,
    GroupRates,
    counts_by_group,
    grouped,
    interval,
    positive_class,
    rate,
    too_few_groups,
    undefined,
)

_TWO: Final = "selection rate = share of a group's rows predicted {positive!r}"
_MORE: Final = "; {positive!r} is the class with the worst value among those predicted at least {least} times"


def demographic_parity_difference(
    frame: pl.DataFrame, by: str, *, positive: str | None = None, min_group: int = MINIMUM_GROUP
) -> FairnessValue:
    """Largest minus smallest selection rate among groups.

    Args:
        frame: columns prediction and `by`; rows without a prediction are left out.
        by: the protected column.
        positive: the class whose selection rate counts. Default: with two classes the last in order; with more, each
            class against the rest, and the worst class is reported and named.
        min_group: smallest group compared, rows.

    Returns:
        Difference 0..1, 0 = parity; None with fewer than two groups of min_group rows, or when with many classes none
        is predicted min_group times.

    Raises:
        InvalidError: a column is absent.

    Source: Agarwal et al. (2018); computed by fairlearn.metrics.demographic_parity_difference.
    """
    return _parity("demographic_parity_difference", frame, by, positive, min_group)


def demographic_parity_ratio(
    frame: pl.DataFrame, by: str, *, positive: str | None = None, min_group: int = MINIMUM_GROUP
) -> FairnessValue:
    """Smallest divided by largest selection rate among groups; see `demographic_parity_difference` for the arguments.

    Returns:
        Ratio 0..1, 1 = parity (the four-fifths rule asks for 0.8); None also when no group is ever selected.

    Source: Agarwal et al. (2018); computed by fairlearn.metrics.demographic_parity_ratio.
    """
    return _parity("demographic_parity_ratio", frame, by, positive, min_group)


def _parity(metric: str, frame: pl.DataFrame, by: str, positive: str | None, min_group: int) -> FairnessValue:
    data = grouped(frame, by, min_group=min_group, outcome=False)
    chosen = positive_class(data, positive)
    ratio = metric.endswith("ratio")
    words = "smallest / largest selection rate; " if ratio else "largest - smallest selection rate; "
    reason = too_few_groups(data, min_group)
    if reason:
        return undefined(metric, data, words + _TWO.format(positive=positive), reason)
    definition = words + _TWO
    if chosen is None:
        frequency = data.frame["prediction"].value_counts()
        candidates = sorted(frequency.filter(pl.col("count") >= min_group)["prediction"].to_list())
        if not candidates:
            why = f"no class is predicted at least {min_group} times"
            return undefined(metric, data, definition.format(positive="each class"), why)
        values = [_value(metric, data, c) for c in candidates]
        at = int(np.argmin(values)) if ratio else int(np.argmax(values))
        chosen, value = candidates[at], values[at]
        definition += _MORE
    else:
        value = _value(metric, data, chosen)
    counts = counts_by_group(data, chosen)
    selected = rate(counts[:, :, 1].sum(axis=1), counts.sum(axis=(1, 2)))
    groups = _groups(data, selected)
    definition = definition.format(positive=chosen, least=min_group)
    total = sum(data.sizes.values())
    if not np.isfinite(value):
        return FairnessValue(
            metric, by, None, f"no group is ever predicted {chosen!r}", definition, chosen, groups, total
        )
    bounds = interval(counts, _ratio_of if ratio else _difference_of)
    return FairnessValue(metric, by, float(value), None, definition, chosen, groups, total, *(bounds or (None, None)))


def _value(metric: str, data: Grouped, positive: str) -> float:
    from fairlearn import metrics

    selected = (data.frame["prediction"] == positive).to_numpy().astype(int)
    if metric.endswith("ratio") and not selected.any():
        return float("nan")
    compute = getattr(metrics, metric)
    return float(compute(selected, selected, sensitive_features=data.frame["group"].to_numpy().astype(str)))


def _groups(data: Grouped, selected: Floats) -> tuple[GroupRates, ...]:
    known = dict(zip(data.compared, selected.tolist(), strict=True))
    return tuple(
        GroupRates(g, n, {"selection_rate": known[g]} if g in known else {}, data.too_small(g))
        for g, n in data.sizes.items()
    )


def _selection(counts: Ints) -> Floats:
    return rate(counts[..., 1].sum(axis=-1), counts.sum(axis=(-2, -1)))


def _difference_of(counts: Ints) -> Floats:
    selected = _selection(counts)
    return np.asarray(selected.max(axis=-1) - selected.min(axis=-1), dtype=np.float64)


def _ratio_of(counts: Ints) -> Floats:
    selected = _selection(counts)
    largest = selected.max(axis=-1)
    out = np.full(np.shape(largest), np.nan)
    np.divide(selected.min(axis=-1), largest, out=out, where=largest > 0)
    return out


DIFFERENCE = Fairness(
    name="demographic_parity_difference",
    unit="share",
    higher_is_better=False,
    needs_outcome=False,
    compute=demographic_parity_difference,
)
RATIO = Fairness(
    name="demographic_parity_ratio",
    unit="ratio",
    higher_is_better=True,
    needs_outcome=False,
    compute=demographic_parity_ratio,
)

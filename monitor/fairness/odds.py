"""Equalized odds: is the model right, and wrong, equally often for every group?"""

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

_NAME = "equalized_odds_difference"
_TWO = "the larger of the two gaps (largest - smallest group) in true positive rate and false positive rate for {!r}"
_MORE = (
    "more than two classes: micro-averaged over classes, one against the rest, which equals the largest - smallest "
    "accuracy of a group (share of its rows given the right class)"
)


def equalized_odds_difference(
    frame: pl.DataFrame, by: str, *, positive: str | None = None, min_group: int = MINIMUM_GROUP
) -> FairnessValue:
    """Largest gap between groups in true positive rate or false positive rate.

    Args:
        frame: columns prediction, outcome and `by`; rows without prediction or outcome are left out.
        by: the protected column.
        positive: the class whose rates count. Default: with two classes the last in order. With more classes and none
            given, rates are micro-averaged over the classes, one against the rest. The true positive rate is then the
            accuracy and the false positive rate (1 - accuracy) / (classes - 1), so the gap is that of the accuracy.
        min_group: smallest group compared, rows.

    Returns:
        Difference 0..1, 0 = equal odds; None with fewer than two groups of min_group rows, or when a compared group
        has no row with, or none without, the positive outcome.

    Raises:
        InvalidError: a column is absent.

    Source: Hardt, Price and Srebro (2016); computed by fairlearn.metrics.
    """
    data = grouped(frame, by, min_group=min_group, outcome=True)
    chosen = positive_class(data, positive)
    definition = _MORE if chosen is None else _TWO.format(chosen)
    reason = too_few_groups(data, min_group)
    if reason:
        return undefined(_NAME, data, definition, reason)
    return _accuracy_gap(data, definition) if chosen is None else _odds(data, chosen, definition)


def _odds(data: Grouped, positive: str, definition: str) -> FairnessValue:
    from fairlearn import metrics

    counts = counts_by_group(data, positive)
    true_positive = rate(counts[:, 1, 1], counts[:, 1, :].sum(axis=1))
    false_positive = rate(counts[:, 0, 1], counts[:, 0, :].sum(axis=1))
    groups = _groups(data, {"true_positive_rate": true_positive, "false_positive_rate": false_positive})
    total = sum(data.sizes.values())
    if not np.isfinite(np.concatenate([true_positive, false_positive])).all():
        reason = f"a compared group has no row with, or none without, the outcome {positive!r}"
        return FairnessValue(_NAME, data.by, None, reason, definition, positive, groups, total)
    value = metrics.equalized_odds_difference(
        (data.frame["outcome"] == positive).to_numpy().astype(int),
        (data.frame["prediction"] == positive).to_numpy().astype(int),
        sensitive_features=data.frame["group"].to_numpy().astype(str),
    )
    bounds = interval(counts, _odds_of) or (None, None)
    return FairnessValue(_NAME, data.by, float(value), None, definition, positive, groups, total, *bounds)


def _accuracy_gap(data: Grouped, definition: str) -> FairnessValue:
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import accuracy_score

    frame = MetricFrame(
        metrics=accuracy_score,
        y_true=data.frame["outcome"].to_numpy().astype(str),
        y_pred=data.frame["prediction"].to_numpy().astype(str),
        sensitive_features=data.frame["group"].to_numpy().astype(str),
    )
    accuracy = np.array([frame.by_group[g] for g in data.compared], dtype=np.float64)
    right = (data.frame["prediction"] == data.frame["outcome"]).to_numpy()
    names = data.frame["group"].to_numpy().astype(str)
    counts = np.array([[np.sum(~right[names == g]), np.sum(right[names == g])] for g in data.compared], dtype=np.int64)
    bounds = interval(counts, _gap_of) or (None, None)
    groups = _groups(data, {"accuracy": accuracy})
    value = float(frame.difference(method="between_groups"))
    return FairnessValue(_NAME, data.by, value, None, definition, None, groups, sum(data.sizes.values()), *bounds)


def _groups(data: Grouped, rates: dict[str, Floats]) -> tuple[GroupRates, ...]:
    at = {g: i for i, g in enumerate(data.compared)}
    return tuple(
        GroupRates(
            g,
            n,
            {name: _number(values[at[g]]) for name, values in rates.items()} if g in at else {},
            data.too_small(g),
        )
        for g, n in data.sizes.items()
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _odds_of(counts: Ints) -> Floats:
    true_positive = rate(counts[..., 1, 1], counts[..., 1, :].sum(axis=-1))
    false_positive = rate(counts[..., 0, 1], counts[..., 0, :].sum(axis=-1))
    gaps = [rates.max(axis=-1) - rates.min(axis=-1) for rates in (true_positive, false_positive)]
    return np.asarray(np.maximum(gaps[0], gaps[1]), dtype=np.float64)


def _gap_of(counts: Ints) -> Floats:
    accuracy = rate(counts[..., 1], counts.sum(axis=-1))
    return np.asarray(accuracy.max(axis=-1) - accuracy.min(axis=-1), dtype=np.float64)


DIFFERENCE = Fairness(
    name=_NAME, unit="share", higher_is_better=False, needs_outcome=True, compute=equalized_odds_difference
)

"""Balanced accuracy."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.confusion import macro_value, recalls


def balanced_accuracy(frame: pl.DataFrame) -> KpiValue:
    """Mean recall over the classes that occur as outcome.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,).

    Returns:
        Share 0..1 with a 95 % interval (stratified bootstrap, seeded). None if no row has an outcome, or there
        are more than 1,000 classes. Unlike recall_macro it ignores a class that was predicted but never occurred.

    Raises:
        InvalidError: a column is absent.

    Source: Brodersen et al. (2010); scikit-learn's balanced_accuracy_score.
    """
    return macro_value(frame, recalls, outcomes_only=True)


KPI = Kpi(
    name="balanced_accuracy", unit="share", higher_is_better=True, tasks=("classification",), compute=balanced_accuracy
)

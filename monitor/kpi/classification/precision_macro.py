"""Macro precision."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.confusion import macro_value, precisions


def precision_macro(frame: pl.DataFrame) -> KpiValue:
    """Mean over classes of precision = right / rows with that prediction.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,).

    Returns:
        Share 0..1 with a 95 % interval (stratified bootstrap, seeded). A class that is never predicted counts 0. The
        classes are those among the outcomes and predictions of these rows. None if no row has an outcome,
        or there are more than 1,000 classes.

    Raises:
        InvalidError: a column is absent.

    Source: scikit-learn's precision_score with average="macro", zero_division=0.
    """
    return macro_value(frame, precisions)


KPI = Kpi(
    name="precision_macro", unit="share", higher_is_better=True, tasks=("classification",), compute=precision_macro
)

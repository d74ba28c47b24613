"""Macro precision."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, macro_value, precisions


def precision_macro(frame: pl.DataFrame) -> KpiValue:
    """Mean over classes of precision = right / rows predicted so.

    Args:
        frame: columns prediction and outcome, any type; compared as text.

    Returns:
        Share 0..1 with a 95 % interval (stratified bootstrap, seeded); a class never predicted counts 0.
        None without a labelled row. Classes are those seen among outcomes or predictions of these rows.

    Source: scikit-learn's average="macro", zero_division=0.
    """
    return macro_value(frame, precisions)


KPI = Kpi(
    name="precision_macro", unit="share", higher_is_better=True, tasks=("classification",), compute=precision_macro
)

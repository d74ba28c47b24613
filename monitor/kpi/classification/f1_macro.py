"""Macro F1."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.confusion import f1_per_class, macro_value


def f1_macro(frame: pl.DataFrame) -> KpiValue:
    """Mean over classes of F1 = 2 right / (rows with that outcome + rows with that prediction).

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,).

    Returns:
        Share 0..1 with a 95 % interval (stratified bootstrap, seeded). A class that is never right counts 0. The
        classes are those among the outcomes and predictions of these rows. None if no row has an outcome,
        or there are more than 1,000 classes.

    Raises:
        InvalidError: a column is absent.

    Source: van Rijsbergen (1979); the mean of F1, not the F1 of means (Opitz and Burst 2019).
    """
    return macro_value(frame, f1_per_class)


KPI = Kpi(name="f1_macro", unit="share", higher_is_better=True, tasks=("classification",), compute=f1_macro)

"""Macro F1."""

import numpy as np
import polars as pl

from monitor.kpi.base import Floats, Ints, Kpi, KpiValue, macro_value


def f1_macro(frame: pl.DataFrame) -> KpiValue:
    """Mean over classes of F1 = 2 right / (rows of the class + rows predicted so).

    Args:
        frame: columns prediction and outcome, any type; compared as text.

    Returns:
        Share 0..1 with a 95 % interval (stratified bootstrap, seeded); a class that is never right counts 0. None
        without a labelled row. Classes are those seen among outcomes or predictions of these rows.

    Source: van Rijsbergen (1979); the mean of F1, not the F1 of means (Opitz and Burst 2019).
    """
    return macro_value(frame, f1_per_class)


def f1_per_class(counts: Ints) -> Floats:
    """F1 of each class; 0 for a class that never occurs. Last two axes: (outcome, prediction)."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    both = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.asarray(np.divide(2 * right, both, out=np.zeros(np.shape(right)), where=both > 0), dtype=np.float64)


KPI = Kpi(name="f1_macro", unit="share", higher_is_better=True, tasks=("classification",), compute=f1_macro)

"""Share of right predictions."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, labelled, share_right


def accuracy(frame: pl.DataFrame) -> KpiValue:
    """Share of labelled rows whose prediction equals the outcome; a missing prediction is wrong.

    Args:
        frame: columns prediction and outcome, any type; compared as text.

    Returns:
        Share 0..1 with its Wilson interval; None without a labelled row.

    Source: Wilson (1927) for the interval.
    """
    rows = labelled(frame)
    return share_right(rows, rows["prediction"].cast(pl.String) == rows["outcome"].cast(pl.String))


KPI = Kpi(name="accuracy", unit="share", higher_is_better=True, tasks=("classification",), compute=accuracy)

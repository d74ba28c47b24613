"""Share of right predictions."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, labelled
from monitor.kpi.intervals import share_value


def accuracy(frame: pl.DataFrame) -> KpiValue:
    """Share of labelled rows whose prediction equals the outcome; a missing prediction is wrong.

    Args:
        frame: columns prediction and outcome of any type, compared as text, shape (rows,).

    Returns:
        Share 0..1 with its 95 % Wilson interval. None if no row has an outcome.

    Raises:
        InvalidError: a column is absent.

    Source: Wilson (1927) for the interval.
    """
    rows = labelled(frame)
    right = rows["prediction"].cast(pl.String) == rows["outcome"].cast(pl.String)
    return share_value(int(right.fill_null(value=False).sum()), rows.height, if_empty="no outcome has arrived")


KPI = Kpi(name="accuracy", unit="share", higher_is_better=True, tasks=("classification",), compute=accuracy)

"""Events that arrive later than usual."""

import polars as pl

from monitor.quality.base import Learned, QualityCheck


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The largest delay that is usual between an event and its arrival.

    Args:
        frame: reference rows with the times ts and received_at, shape (rows,).
        _limits: not read.

    Returns:
        `seconds`: the 99th percentile of the delays, at least 1 s. None if no row has both times.
    """
    delays = (frame["received_at"] - frame["ts"]).dt.total_milliseconds().drop_nulls() / 1000.0
    found = delays.quantile(0.99, interpolation="higher")
    return None if found is None else {"seconds": max(1.0, float(found))}


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Flag rows that took longer to arrive than the usual limit.

    Args:
        frame: rows with the times ts and received_at, shape (rows,).
        learned: `seconds`, from `learn`.

    Returns:
        Whether each row is late, shape (rows,); null if a time is missing.
    """
    late: pl.Series = (frame["received_at"] - frame["ts"]).dt.total_milliseconds() / 1000.0 > learned["seconds"]
    return late


CHECK = QualityCheck("freshness", "rows", learn, flag, halved=True)

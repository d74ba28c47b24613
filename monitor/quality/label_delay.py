"""Outcomes that arrive later than usual."""

import polars as pl

from monitor.quality.base import Learned, QualityCheck


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The largest delay that is usual between an event and its outcome.

    Args:
        frame: reference rows with the times ts and outcome_ts, shape (rows,).
        _limits: not read.

    Returns:
        `seconds`: the 99th percentile of the delays, at least 1 s. None if no row has both times.
    """
    delays = (frame["outcome_ts"] - frame["ts"]).dt.total_milliseconds().drop_nulls() / 1000.0
    found = delays.quantile(0.99, interpolation="higher")
    return None if found is None else {"seconds": max(1.0, float(found))}


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Flag labelled rows whose outcome took longer than the usual limit.

    Args:
        frame: rows with the times ts and outcome_ts, shape (rows,).
        learned: `seconds`, from `learn`.

    Returns:
        Whether each outcome is late, shape (rows,); null without an outcome, which is not known to be late yet.
    """
    late: pl.Series = (frame["outcome_ts"] - frame["ts"]).dt.total_milliseconds() / 1000.0 > learned["seconds"]
    return late


CHECK = QualityCheck("label_delay", "labels", learn, flag, halved=True)

"""Events that arrive late."""

import polars as pl

from monitor.quality.base import Check, Learned


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The 99th percentile of the seconds between an event and its arrival; at least one second."""
    delays = (frame["received_at"] - frame["ts"]).dt.total_milliseconds().drop_nulls() / 1000.0
    found = delays.quantile(0.99, interpolation="higher")
    return None if found is None else {"seconds": max(1.0, float(found))}


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Rows that took longer."""
    late: pl.Series = (frame["received_at"] - frame["ts"]).dt.total_milliseconds() / 1000.0 > learned["seconds"]
    return late


CHECK = Check("freshness", "rows", learn, flag, halved=True)

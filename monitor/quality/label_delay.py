"""Outcomes that arrive late."""

import polars as pl

from monitor.quality.base import Check, Learned


def learn(frame: pl.DataFrame, _limits: Learned) -> Learned | None:
    """The 99th percentile of the seconds between an event and its outcome; at least one second."""
    delays = (frame["outcome_ts"] - frame["ts"]).dt.total_milliseconds().drop_nulls() / 1000.0
    found = delays.quantile(0.99, interpolation="higher")
    return None if found is None else {"seconds": max(1.0, float(found))}


def flag(frame: pl.DataFrame, learned: Learned) -> pl.Series:
    """Labelled rows whose outcome took longer; rows whose outcome has not come are not known to be late yet."""
    late: pl.Series = (frame["outcome_ts"] - frame["ts"]).dt.total_milliseconds() / 1000.0 > learned["seconds"]
    return late


CHECK = Check("label_delay", "labels", learn, flag, halved=True)

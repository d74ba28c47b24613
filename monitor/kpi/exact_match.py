"""Exact match of generated text."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, labelled, share_right


def exact_match(frame: pl.DataFrame) -> KpiValue:
    """Share of labelled rows whose answer equals the reference after lower-casing and joining runs of white space.

    Args:
        frame: columns prediction and outcome, texts.

    Returns:
        Share 0..1 with its Wilson interval; a missing answer is wrong; None without a labelled row. Articles and
        punctuation count, unlike in the metric of SQuAD.

    Source: Rajpurkar et al. (2016), without their removal of articles and punctuation.
    """
    rows = labelled(frame)
    return share_right(rows, _plain(rows["prediction"]) == _plain(rows["outcome"]))


def _plain(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.String).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


KPI = Kpi(name="exact_match", unit="share", higher_is_better=True, tasks=("generation",), compute=exact_match)

"""Exact match of generated text."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, labelled
from monitor.kpi.intervals import share_value


def exact_match(frame: pl.DataFrame) -> KpiValue:
    """Share of labelled rows whose answer equals the reference, ignoring case and the amount of white space.

    Args:
        frame: columns prediction and outcome, texts, shape (rows,); a missing answer is wrong.

    Returns:
        Share 0..1 with its 95 % Wilson interval. None if no row has an outcome. Unlike in SQuAD's metric, articles and
        punctuation count.

    Raises:
        InvalidError: a column is absent.

    Source: Rajpurkar et al. (2016), without their removal of articles and punctuation.
    """
    rows = labelled(frame)
    right = _plain(rows["prediction"]) == _plain(rows["outcome"])
    return share_value(int(right.fill_null(value=False).sum()), rows.height, if_empty="no outcome has arrived")


def _plain(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.String).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


KPI = Kpi(name="exact_match", unit="share", higher_is_better=True, tasks=("generation",), compute=exact_match)

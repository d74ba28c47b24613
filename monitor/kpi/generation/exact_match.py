"""Exact match of generated text."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue, labelled
from monitor.kpi.intervals import share_value
from monitor.kpi.texts import NO_OUTCOME, NO_REFERENCE, equals_reference


def exact_match(frame: pl.DataFrame) -> KpiValue:
    """Share of labelled rows whose answer equals a reference, ignoring case and the amount of white space.

    Args:
        frame: columns prediction, texts, and outcome, texts or lists of texts, shape (rows,); a missing answer is
            wrong. Rows with an empty list of references are left out and counted.

    Returns:
        Share 0..1 with its 95 % Wilson interval. None if no row is left. Unlike in SQuAD's metric, articles and
        punctuation count.

    Raises:
        InvalidError: a column is absent.

    Source: Rajpurkar et al. (2016), without their removal of articles and punctuation.
    """
    right = equals_reference(labelled(frame))
    left_out = right.null_count()
    reason = NO_REFERENCE if left_out else NO_OUTCOME
    return share_value(int(right.sum()), len(right) - left_out, left_out=left_out, if_empty=reason)


KPI = Kpi(name="exact_match", unit="share", higher_is_better=True, tasks=("generation",), compute=exact_match)

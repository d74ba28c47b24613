"""ROUGE-1."""

from collections import Counter

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.texts import mean_overlap


def rouge1(frame: pl.DataFrame) -> KpiValue:
    """Mean over labelled rows of the best F1 of single tokens that answer and a reference share, with multiplicity.

    Args:
        frame: columns prediction and outcome, texts, shape (rows,). Tokens are runs of a-z and 0-9 after lower-casing,
            without stemming; text in other alphabets has none. A missing answer counts 0. Rows whose reference has no
            token are left out and counted.

    Returns:
        Share 0..1 with a normal 95 % interval. None if no row is left. It measures shared words, not quality.

    Raises:
        InvalidError: a column is absent.

    Source: Lin (2004); same values as rouge1 of the package rouge-score 0.1.2.
    """
    return mean_overlap(frame, lambda given, wanted: (Counter(given) & Counter(wanted)).total())


KPI = Kpi(name="rouge1", unit="share", higher_is_better=True, tasks=("generation",), compute=rouge1)

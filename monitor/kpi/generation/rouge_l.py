"""ROUGE-L."""

import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.texts import mean_overlap


def rouge_l(frame: pl.DataFrame) -> KpiValue:
    """Mean over labelled rows of the best F1 of the longest common subsequence of tokens of answer and a reference.

    Args:
        frame: columns prediction and outcome, texts, shape (rows,). Tokens are runs of a-z and 0-9 after lower-casing,
            without stemming; text in other alphabets has none. A missing answer counts 0. Rows whose reference has no
            token are left out and counted.

    Returns:
        Share 0..1 with a normal 95 % interval. None if no row is left. It measures shared words in order, not quality.

    Raises:
        InvalidError: a column is absent.

    Source: Lin (2004); same values as rougeL of the package rouge-score 0.1.2.
    """
    return mean_overlap(frame, _common)


def _common(given: list[str], wanted: list[str]) -> int:
    """Length of the longest common subsequence. One integer holds a row of its table as bits (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, token in enumerate(wanted):
        places[token] = places.get(token, 0) | 1 << i
    every = (1 << len(wanted)) - 1
    rest = every
    for token in given:
        matched = rest & places.get(token, 0)
        rest = ((rest + matched) | (rest - matched)) & every
    return len(wanted) - rest.bit_count()


KPI = Kpi(name="rouge_l", unit="share", higher_is_better=True, tasks=("generation",), compute=rouge_l)

"""Mean chrF."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.intervals import mean_value
from monitor.kpi.texts import NO_OUTCOME, NO_REFERENCE, Answered, answers, with_reference


def chrf_mean(frame: pl.DataFrame) -> KpiValue:
    """Mean over labelled rows of the chrF2 of answer and reference, by sacrebleu with its defaults.

    Args:
        frame: columns prediction, texts of any alphabet, and outcome, texts or lists of texts of which the best
            counts, shape (rows,), split into runs of up to six characters; a missing answer counts as an empty one.
            Rows without a reference that is not empty are left out and counted.

    Returns:
        Points 0..100 with a normal 95 % interval. None if no row is left. The chrF of the rows as one corpus differs
        because long rows weigh more there.

    Raises:
        InvalidError: a column is absent.

    Source: Popović (2015); Post (2018).
    """
    every = answers(frame)
    rows, left_out = with_reference(every)
    reason = NO_REFERENCE if every else NO_OUTCOME
    return mean_value(np.array(chrf(rows)), lowest=0.0, highest=100.0, left_out=left_out, if_empty=reason)


def chrf(rows: Sequence[Answered]) -> list[float]:
    """chrF2 of each answer, by sacrebleu with its defaults.

    Args:
        rows: answers with their references, at least one each, of which the best counts; shape (rows,).

    Returns:
        Points 0..100, shape (rows,).

    Source: Popović (2015); Post (2018).
    """
    if not rows:
        return []
    from sacrebleu.metrics.chrf import CHRF  # loads lxml, which no other process needs

    metric = CHRF()
    return [min(100.0, metric.sentence_score(row.answer, row.references).score) for row in rows]


KPI = Kpi(name="chrf_mean", unit="points of 100", higher_is_better=True, tasks=("generation",), compute=chrf_mean)

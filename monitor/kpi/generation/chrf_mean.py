"""Mean chrF."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.intervals import mean_value
from monitor.kpi.texts import answers


def chrf_mean(frame: pl.DataFrame) -> KpiValue:
    """Mean over labelled rows of the chrF2 of answer and reference, by sacrebleu with its defaults.

    Args:
        frame: columns prediction and outcome, texts of any alphabet, shape (rows,), split into runs of up to six
            characters; a missing answer counts as an empty one.

    Returns:
        Points 0..100 with a normal 95 % interval. None if no row has an outcome. The chrF of the rows as one corpus
        differs because long rows weigh more there.

    Raises:
        InvalidError: a column is absent.

    Source: Popović (2015); Post (2018).
    """
    pairs = answers(frame)
    values: list[float] = []
    if pairs:
        from sacrebleu.metrics.chrf import CHRF  # loads lxml, which no other process needs

        metric = CHRF()
        values = [metric.sentence_score(answer, [reference]).score for answer, reference in pairs]
    return mean_value(np.array(values), lowest=0.0, highest=100.0, if_empty="no outcome has arrived")


KPI = Kpi(name="chrf_mean", unit="points of 100", higher_is_better=True, tasks=("generation",), compute=chrf_mean)

"""Length of generated answers."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue, mean_value
from monitor.kpi.texts import no_answer, written


def response_length(frame: pl.DataFrame) -> KpiValue:
    """Mean number of characters (Unicode code points) of the answers of all rows, labelled or not.

    Args:
        frame: column prediction, texts; rows without an answer are left out and counted.

    Returns:
        Characters >= 0 with a normal 95 % interval. None without an answer. Neither direction is better.

    Source: the arithmetic mean; normal interval (central limit theorem).
    """
    texts = written(frame)
    if not len(texts):
        return no_answer(frame)
    lengths = texts.str.len_chars().to_numpy().astype(np.float64)
    return mean_value(lengths, lowest=0.0, left_out=frame.height - len(texts), absent="no row has an answer")


KPI = Kpi(
    name="response_length",
    unit="characters",
    higher_is_better=None,
    tasks=("generation",),
    compute=response_length,
    reads=("prediction",),
)

"""Length of generated answers."""

import numpy as np
import polars as pl

from monitor.kpi.base import Kpi, KpiValue
from monitor.kpi.intervals import mean_value
from monitor.kpi.texts import NO_ANSWER, written


def response_length(frame: pl.DataFrame) -> KpiValue:
    """Mean number of characters (Unicode code points) of the answers of all rows, labelled or not.

    Args:
        frame: column prediction, texts, shape (rows,); rows without an answer are left out and counted.

    Returns:
        Characters >= 0 with a normal 95 % interval. No interval for one row. None if no row has an answer. Neither
        direction is better.

    Raises:
        InvalidError: the frame has no column prediction.

    Source: the arithmetic mean; the central limit theorem for the interval.
    """
    texts = written(frame)
    lengths = texts.str.len_chars().to_numpy().astype(np.float64)
    return mean_value(lengths, lowest=0.0, left_out=frame.height - len(texts), if_empty=NO_ANSWER)


KPI = Kpi(
    name="response_length",
    unit="characters",
    higher_is_better=None,
    tasks=("generation",),
    compute=response_length,
    reads=("prediction",),
)

"""Answers that a language model writes to held-out prompts, scored against the right ones as the KPIs do."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl

from core.errors import InsufficientDataError
from monitor.kpi import KPIS
from monitor.kpi.generation.chrf_mean import chrf
from monitor.kpi.texts import answers, equals_reference, with_reference
from retrain.evals.base import Difference
from retrain.evals.compared import SIDES, Side
from retrain.evals.mean_difference import paired_difference

METRICS: Final = ("exact_match", "chrf_mean")
POINTS: Final = 100.0


def scores(written: Sequence[str], right: Sequence[str]) -> dict[str, pl.Series]:
    """By metric the score of each written answer, 0..1, shape (rows,); null where it is undefined.

    Texts are compared as the KPIs do, in Unicode's composed form: `exact_match` ignores case and the amount of white
    space, chrF has sacrebleu's defaults and needs a reference that is not empty.
    """
    frame = pl.DataFrame({"prediction": list(written), "outcome": list(right)}, schema_overrides={
        "prediction": pl.String, "outcome": pl.String,
    })  # fmt: skip
    rows = [with_reference([row])[0] for row in answers(frame)]
    found = iter(chrf([row for one in rows for row in one]))
    return {
        "exact_match": equals_reference(frame).cast(pl.Float64),
        "chrf_mean": pl.Series([next(found) / POINTS if one else None for one in rows], dtype=pl.Float64),
    }


def columns(written: dict[Side, list[str]], right: Sequence[str]) -> list[pl.Series]:
    """Columns of the predictions: `SIDE_METRIC`, the score of each row. The texts themselves are not kept."""
    return [
        values.alias(f"{side}_{metric}") for side in SIDES for metric, values in scores(written[side], right).items()
    ]


def compared(
    written: dict[Side, list[str]], rows: pl.DataFrame, scored: pl.DataFrame, *, confidence: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Per set of rows the KPIs of both models with their intervals, and the paired differences, in shares of 1.

    Args:
        written: answers by model, shape (rows,).
        rows: the held-out rows: `rows`, the set, and `completion`.
        scored: the columns of `columns`.
        confidence: coverage of the intervals of differences.
    """
    evaluations, differences = list[dict[str, Any]](), list[dict[str, Any]]()
    for name in rows["rows"].unique(maintain_order=True):
        at = rows["rows"] == name
        for metric in METRICS:
            for side in SIDES:
                frame = pl.DataFrame({"prediction": pl.Series(written[side]).filter(at)})
                found = KPIS[metric].compute(frame.with_columns(rows["completion"].filter(at).alias("outcome")))
                evaluations.append({
                    "model": side, "rows": name, "name": metric, "value": found.value, "reason": found.reason,
                    "unit": KPIS[metric].unit, "higher_is_better": True, "n": found.n, "low": found.low,
                    "high": found.high,
                })  # fmt: skip
            differences.append({"rows": name} | asdict(_difference(scored.filter(at), metric, confidence)))
    return evaluations, differences


def _difference(scored: pl.DataFrame, metric: str, confidence: float) -> Difference:
    both = scored.select(f"{side}_{metric}" for side in SIDES).drop_nulls()
    champion, challenger = (both[f"{side}_{metric}"].to_numpy().astype(np.float64) for side in SIDES)
    try:
        found = paired_difference(champion, challenger, level=confidence, bounded=True)
    except InsufficientDataError as error:
        return Difference(metric, None, error.message, "share", True, both.height, None, None)
    return Difference(metric, found.value, None, "share", True, found.n, found.low, found.high)

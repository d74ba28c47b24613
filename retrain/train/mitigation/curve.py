"""The trade-off of a mitigation: what it costs in accuracy and gains in fairness, on rows that were not trained on."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from core.arrays import Flags
from monitor.fairness import FAIRNESS
from monitor.fairness.counts import count
from monitor.fairness.grouping import Grouping
from monitor.kpi.intervals import wilson
from retrain.train.mitigation.keys import POSITIVE_KEY, Mitigation


def held_back(rows: pl.DataFrame, group: pl.Series, share: float, seed: int) -> Flags:
    """Which training rows the curve is measured on: a share of each group and label by the seed, shape (rows,)."""
    cells = pl.DataFrame({"group": group, "label": rows["label"]}).with_row_index("at")
    shuffled = cells.sample(fraction=1.0, shuffle=True, seed=seed)
    place = pl.int_range(pl.len()).over("group", "label")
    found = shuffled.with_columns((place < (pl.len().over("group", "label") * share)).alias("held")).sort("at")
    return found["held"].to_numpy()


def point(
    mitigation: Mitigation, setting: str, group: pl.Series, truth: Sequence[str], answers: Sequence[str]
) -> dict[str, Any]:
    """One point of a curve: accuracy and disparity of some answers, each with its 95 % interval."""
    hits, n = sum(a == b for a, b in zip(truth, answers, strict=True)), len(truth)
    low, high = wilson(hits, n)
    counts = count(
        pl.DataFrame({"group": group}), Grouping(("group",)), prediction=pl.Series(list(answers), dtype=pl.String),
        outcome=pl.Series(list(truth), dtype=pl.String),
    )  # fmt: skip
    found = FAIRNESS[mitigation.metric].compute(counts, ("group",), positive=mitigation.positive, key=POSITIVE_KEY)
    return {
        "setting": setting, "rows": n, "positive": found.positive,
        "accuracy": {"value": hits / n if n else None, "low": low, "high": high},
        "fairness": {"value": found.value, "low": found.low, "high": found.high, "reason": found.reason},
        "groups": [{"group": g.group, "n": g.n, "rates": g.rates} for g in found.groups],
    }  # fmt: skip


def record(mitigation: Mitigation, chosen: str, points: Sequence[dict[str, Any]], note: str = "") -> dict[str, Any]:
    """The curve as it is kept with a run."""
    metric = FAIRNESS[mitigation.metric]
    return {
        **mitigation.model_dump(mode="json"), "chosen": chosen, "points": list(points), "note": note,
        "higher_is_fairer": metric.higher_is_better,
    }  # fmt: skip

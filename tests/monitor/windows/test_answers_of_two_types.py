"""A prediction and an outcome of different declared types are compared by what they mean."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.estimate.cbpe import fit_cbpe
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import KpiRule
from monitor.spec.parse import parse_spec
from monitor.windows.concept import _raw_errors
from monitor.windows.group_counts import counted_rows, fairness_readings
from monitor.windows.readings import compute_kpi

VALUES: dict[str, tuple[str, list[Any]]] = {  # declared type, and how it writes no and yes
    "digits": ("category", ["0", "1"]), "words": ("category", ["false", "true"]), "numbers": ("number", [0.0, 1.0]),
    "truths": ("boolean", [False, True]), "texts": ("string", ["0.0", "1.0"]),
}  # fmt: skip
PAIRS = [
    ("digits", "numbers"), ("digits", "truths"), ("words", "truths"), ("truths", "digits"), ("truths", "words"),
    ("truths", "numbers"), ("digits", "texts"),
]  # fmt: skip


def judged(prediction: str, outcome: str) -> ModelSpec:
    return parse_spec({
        "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
        "columns": {
            "said": {"role": "prediction", "type": VALUES[prediction][0]},
            "truth": {"role": "outcome", "type": VALUES[outcome][0]},
            "score": {"role": "score", "type": "number", "positive": "1"},
            "age": {"role": "protected", "type": "category"},
        },
        "monitors": {"fairness": [{"metric": "equalized_odds_difference", "by": ["age"], "min_group": 20}]},
    })  # fmt: skip


def rows(prediction: str, outcome: str) -> pl.DataFrame:
    """Two in three are yes, one in ten is wrong."""
    said = [int(i % 3 > 0) for i in range(600)]
    right = [s if i % 10 else 1 - s for i, s in enumerate(said)]
    score = np.random.default_rng(0).uniform(0.5, 1.0, 600)
    return pl.DataFrame({
        "said": [VALUES[prediction][1][s] for s in said], "truth": [VALUES[outcome][1][r] for r in right],
        "score": [p if s else 1 - p for p, s in zip(score, said, strict=True)],
        "age": [str(i // 300) for i in range(600)],
    })  # fmt: skip


@pytest.mark.parametrize(("prediction", "outcome"), PAIRS)
def test_answers_of_two_types_are_compared_by_what_they_mean(prediction: str, outcome: str) -> None:
    spec, frame = judged(prediction, outcome), rows(prediction, outcome)
    same = "truths" if "truths" in (prediction, outcome) else "digits"
    for metric in ("accuracy", "f1_macro", "brier", "roc_auc"):
        found = compute_kpi(spec, KpiRule(metric=metric), frame)[0]
        assert found == compute_kpi(judged(same, same), KpiRule(metric=metric), rows(same, same))[0], metric
        assert found.value is not None
    assert compute_kpi(spec, KpiRule(metric="accuracy"), frame)[0].value == 0.9
    (fairness,) = fairness_readings(spec, counted_rows(spec, frame, frame), "rows")
    assert fairness.value is not None
    assert fairness.value < 0.2
    assert _raw_errors(spec, frame).mean() == pytest.approx(0.1)
    estimate = fit_cbpe(spec, frame).estimate(frame, ["accuracy"])["accuracy"]
    assert estimate.value == pytest.approx(0.9, abs=0.05)


def test_answers_in_another_vocabulary_leave_what_compares_them_undefined() -> None:
    spec, frame = judged("words", "truths"), rows("words", "truths")
    other = frame.with_columns(pl.col("said").replace({"true": "POSITIVE", "false": "NEGATIVE"}))
    for metric in ("accuracy", "f1_macro", "balanced_accuracy"):
        found = compute_kpi(spec, KpiRule(metric=metric), other)[0]
        assert (found.value, found.n, found.bounds) == (None, 600, None)
        assert "no label is shared: predictions are NEGATIVE, POSITIVE; outcomes are false, true" in str(found.reason)
    assert compute_kpi(spec, KpiRule(metric="roc_auc"), other)[0].value is not None  # the score is of a declared class
    (fairness,) = fairness_readings(spec, counted_rows(spec, other, other), "rows")
    assert (fairness.value, fairness.low) == (None, None)
    assert "no label is shared" in str(fairness.reason)

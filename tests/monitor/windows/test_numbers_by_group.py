"""Scores, numbers and written answers compared by group, through the readings of a window."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from monitor.metric_names import check_metrics
from monitor.spec.parse import SpecError, parse_spec
from monitor.windows.group_counts import counted_rows, fairness_readings
from monitor.windows.readings import Reading


def readings(
    task: str, columns: dict[str, Any], rules: list[dict[str, Any]], frame: pl.DataFrame
) -> dict[str, Reading]:
    spec = parse_spec(
        {
            "model": "m",
            "task": task,
            "owner": "o",
            "purpose": "p",
            "baseline": {"rows": "first 100"},
            "columns": columns | {"group": {"role": "protected", "type": "category"}},
            "monitors": {"fairness": [{"by": ["group"], "min_group": 20, **rule} for rule in rules]},
        },
        new=True,
    )
    check_metrics(spec)
    return {r.metric: r for r in fairness_readings(spec, counted_rows(spec, frame, frame), "7d")}


def test_errors_of_a_regression_are_those_of_scikit_learn_in_each_group() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"said": rng.normal(10, 3, 400), "right": rng.normal(9, 3, 400), "group": ["a"] * 150 + ["b"] * 250}
    )
    columns = {"said": {"role": "prediction", "type": "number"}, "right": {"role": "outcome", "type": "number"}}
    names = ("mean_prediction", "mean_error", "mean_absolute_error", "root_mean_squared_error")
    found = readings("regression", columns, [{"metric": f"{name}_difference", "max": 0.5} for name in names], frame)
    parts = {group: (rows["right"].to_numpy(), rows["said"].to_numpy()) for (group,), rows in frame.group_by("group")}
    expected = {
        "mean_prediction": lambda _, said: said.mean(), "mean_error": lambda right, said: (said - right).mean(),
        "mean_absolute_error": mean_absolute_error, "root_mean_squared_error": root_mean_squared_error,
    }  # fmt: skip
    for name in names:
        one = found[f"{name}_difference"]
        a, b = (expected[name](*parts[group]) for group in "ab")
        assert one.value is not None
        assert one.value == pytest.approx(abs(a - b), rel=1e-9), name
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        assert one.limits is not None
        assert one.limits.bounds is not None
        assert [g["rates"][name] for g in one.details["groups"]] == pytest.approx([a, b])


def test_a_ratio_that_is_none_says_why_and_equal_groups_are_both_named() -> None:
    frame = pl.DataFrame({"said": [1.0, 3.0] * 60, "right": [2.0, 4.0] * 60, "group": ["a"] * 60 + ["b"] * 60})
    columns = {"said": {"role": "prediction", "type": "number"}, "right": {"role": "outcome", "type": "number"}}
    rules = [{"metric": m} for m in ("mean_error_ratio", "mean_absolute_error_ratio", "root_mean_squared_error_ratio")]
    found = readings("regression", columns, rules, frame)
    assert found["mean_error_ratio"].reason is not None
    assert "is below 0 for a, b, so it has no ratio; take the difference" in found["mean_error_ratio"].reason
    assert found["mean_absolute_error_ratio"].details["between"] == ["a", "b"]
    right = readings("regression", columns, rules[2:], frame.with_columns(right="said"))[
        "root_mean_squared_error_ratio"
    ]
    assert right.reason == "the root mean squared error is 0 in every group, so it has no ratio"


def test_written_answers_are_compared_by_refusals_length_and_exact_matches() -> None:
    said = ["I'm sorry, but no."] * 30 + ["Paris"] * 30 + ["Rome is it"] * 60
    frame = pl.DataFrame({"said": said, "right": ["paris"] * 120, "group": ["a"] * 60 + ["b"] * 60})
    columns = {"said": {"role": "prediction", "type": "text"}, "right": {"role": "outcome", "type": "text"}}
    names = ("refusal_rate", "exact_match", "answer_length")
    found = readings("generation", columns, [{"metric": f"{name}_difference"} for name in names], frame)
    assert found["refusal_rate_difference"].value == 0.5
    assert found["exact_match_difference"].value == 0.5
    assert found["answer_length_difference"].value == pytest.approx((18 + 5) / 2 - 10)


def test_scores_are_compared_and_calibrated_for_the_class_that_they_are_of() -> None:
    rng = np.random.default_rng(1)
    score = rng.random(2000)
    truth = np.where(rng.random(2000) < score, "yes", "no")
    frame = pl.DataFrame({
        "said": np.where(score > 0.5, "yes", "no"), "right": truth, "score": score, "group": ["a", "b"] * 1000,
    })  # fmt: skip
    shifted = frame.with_columns(score=pl.when(pl.col("group") == "b").then(pl.col("score") / 2).otherwise("score"))
    columns = {
        "said": {"role": "prediction", "type": "category"}, "right": {"role": "outcome", "type": "category"},
        "score": {"role": "score", "type": "number", "positive": "yes"},
    }  # fmt: skip
    rules = [{"metric": m} for m in ("calibration_error_difference", "mean_score_ratio", "scoring_impact_ratio",
                                     "standardised_mean_difference")]  # fmt: skip
    fair, unfair = (readings("classification", columns, rules, rows) for rows in (frame, shifted))
    assert fair["calibration_error_difference"].value == pytest.approx(0.0, abs=0.03)
    assert unfair["calibration_error_difference"].value == pytest.approx(0.25, abs=0.03)
    means = shifted.group_by("group").agg(pl.col("score").mean())["score"]
    assert unfair["mean_score_ratio"].value == pytest.approx(means.min() / means.max())  # type: ignore[operator]
    spread = (means.max() - means.min()) / shifted["score"].std()  # type: ignore[operator]
    assert unfair["standardised_mean_difference"].value == pytest.approx(spread)
    assert fair["scoring_impact_ratio"].value == pytest.approx(1.0, abs=0.1)
    assert unfair["scoring_impact_ratio"].value is not None
    assert unfair["scoring_impact_ratio"].value < 0.5


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("mean_error_difference", "is for task regression, and this is classification"),
        ("mean_score_ratio", "needs a column with role score"),
        ("selection_rate_diff", "did you mean selection_rate_d"),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_fit_is_refused_when_the_spec_is_applied(metric: str, words: str) -> None:
    columns = {"said": {"role": "prediction", "type": "category"}, "right": {"role": "outcome", "type": "category"}}
    with pytest.raises(SpecError, match=words):
        readings("classification", columns, [{"metric": metric}], pl.DataFrame())

"""KPIs of a classifier's score against scikit-learn, for both meanings a score may have."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from core.errors import InvalidError
from monitor.kpi import KPIS

Rows = list[tuple[str, float]]
# Outcome and the probability of "yes"; few distinct values, so that ties are common.
rows_of_two = st.lists(
    st.tuples(st.sampled_from(["no", "yes"]), st.integers(0, 20).map(lambda k: k / 20)), min_size=2, max_size=60
)


def _right(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether each answer is right, and the probability the model gave to it."""
    right = [float((p >= 0.5) == (outcome == "yes")) for outcome, p in rows]
    return np.array(right), np.array([max(p, 1 - p) for _, p in rows])


def _calibration(rows: Rows) -> float:
    right, confidence = _right(rows)
    edges = np.linspace(0.0, 1.0, 11)
    at = np.searchsorted(edges, confidence, side="left")  # closed on the right
    gaps = [abs(right[at == b].mean() - confidence[at == b].mean()) * (at == b).mean() for b in set(at.tolist())]
    return float(sum(gaps))


def _yes(rows: Rows) -> list[float]:
    return [float(outcome == "yes") for outcome, _ in rows]


def _p(rows: Rows) -> list[float]:
    return [p for _, p in rows]


SCORES: dict[str, Callable[[Rows], float]] = {
    "roc_auc": lambda r: float(metrics.roc_auc_score(_yes(r), _p(r))),
    "pr_auc": lambda r: float(metrics.average_precision_score(_yes(r), _p(r))),
    "log_loss": lambda r: float(metrics.log_loss(_yes(r), _p(r), labels=[0, 1])),
    "brier": lambda r: float(metrics.brier_score_loss(_yes(r), _p(r))),
    "confidence_auc": lambda r: float(metrics.roc_auc_score(*_right(r))),
    "expected_calibration_error": _calibration,
}
ONE_SIDED: dict[str, Callable[[Rows], list[float]]] = {
    "roc_auc": _yes,
    "pr_auc": _yes,
    "confidence_auc": lambda r: _right(r)[0].tolist(),
}


def declared(rows: Rows) -> pl.DataFrame:
    """The score is the probability of "yes", and the spec says so."""
    return pl.DataFrame(
        {
            "outcome": [outcome for outcome, _ in rows],
            "prediction": ["yes" if p >= 0.5 else "no" for _, p in rows],
            "score": _p(rows),
            "positive": ["yes"] * len(rows),
        }
    )


def stated(rows: Rows) -> pl.DataFrame:
    """The score is the probability of the predicted class."""
    return declared(rows).drop("positive").with_columns(pl.max_horizontal("score", 1 - pl.col("score")))


@pytest.mark.parametrize("name", SCORES)
@given(rows_of_two)
@settings(max_examples=40)
def test_a_kpi_of_scores_equals_scikit_learn_whichever_probability_is_logged(name: str, rows: Rows) -> None:
    result = KPIS[name].compute(declared(rows))
    if name in ONE_SIDED and len(set(ONE_SIDED[name](rows))) < 2 and not (name == "pr_auc" and any(_yes(rows))):
        assert result.value is None
        assert result.reason
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = SCORES[name](rows)
    assert result.value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert result.n == len(rows)
    if result.low is not None and result.high is not None:
        assert result.low - 1e-9 <= expected <= result.high + 1e-9
    # Which class is called positive matters to the PR curve alone.
    if name != "pr_auc":
        assert KPIS[name].compute(stated(rows)).value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", SCORES)
@given(rows_of_two, st.randoms())
@settings(max_examples=20)
def test_the_order_of_rows_and_rows_without_an_outcome_or_score_change_nothing(
    name: str, rows: Rows, random: object
) -> None:
    frame = declared(rows)
    nothing = pl.DataFrame(
        {"outcome": [None, "yes"], "prediction": ["yes", "yes"], "score": [0.9, None], "positive": ["yes", "yes"]},
        schema=frame.schema,
    )
    other = KPIS[name].compute(pl.concat([frame.reverse(), nothing]))
    plain = KPIS[name].compute(frame)
    assert (
        other.value == pytest.approx(plain.value, rel=1e-9, abs=1e-12) if plain.value is not None else not other.value
    )
    assert (other.n, other.left_out) == (plain.n, 1)


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "brier"])
def test_with_three_classes_the_score_of_the_predicted_one_is_not_enough(name: str) -> None:
    frame = pl.DataFrame({"outcome": ["a", "b", "c"], "prediction": ["a", "a", "c"], "score": [0.9, 0.5, 0.4]})
    result = KPIS[name].compute(frame)
    assert result.value is None
    assert "3 classes" in (result.reason or "")
    against_the_rest = KPIS[name].compute(frame.with_columns(pl.lit("a").alias("positive")))
    assert against_the_rest.value is not None


def test_with_many_classes_calibration_and_confidence_are_still_defined() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.2, 1.0, 5000)
    outcome = rng.choice(list("abcdefg"), 5000)
    wrong = np.array([{"a": "b"}.get(o, "a") for o in outcome])
    prediction = np.where(rng.random(5000) < confidence, outcome, wrong)
    frame = pl.DataFrame({"outcome": outcome, "prediction": prediction, "score": confidence})
    calibration = KPIS["expected_calibration_error"].compute(frame)
    assert calibration.low == 0.0
    assert calibration.value is not None
    assert calibration.value < 0.03
    auc = KPIS["confidence_auc"].compute(frame)
    assert auc.value == pytest.approx(metrics.roc_auc_score(prediction == outcome, confidence))
    undefined = KPIS["expected_calibration_error"].compute(frame.with_columns(pl.lit("a").alias("positive")))
    assert undefined.value is None


def test_pr_auc_asks_for_the_positive_class() -> None:
    result = KPIS["pr_auc"].compute(stated([("yes", 0.9), ("no", 0.2)]))
    assert result.value is None
    assert "declare `positive`" in (result.reason or "")


def test_an_overconfident_model_is_found_and_a_calibrated_one_is_not() -> None:
    rng = np.random.default_rng(5)

    def run(gap: float) -> float:
        found = 0
        for _ in range(100):
            confidence = rng.uniform(0.6, 1.0, 800)
            right = rng.random(800) < confidence - gap
            frame = pl.DataFrame(
                {"outcome": np.full(800, "a"), "prediction": np.where(right, "a", "b"), "score": confidence}
            )
            low = KPIS["expected_calibration_error"].compute(frame).low
            found += low is not None and low > 0
        return found / 100

    assert run(0.0) <= 0.05
    assert run(0.15) >= 0.95


@pytest.mark.parametrize("name", ["brier", "log_loss", "expected_calibration_error"])
def test_a_score_outside_0_to_1_is_no_probability(name: str) -> None:
    frame = declared([("yes", 0.9), ("no", 0.2)]).with_columns(pl.col("score") * 10)
    result = KPIS[name].compute(frame)
    assert result.value is None
    assert "2 of 2 scores" in (result.reason or "")


def test_a_rank_of_a_declared_class_orders_rows_without_being_a_probability() -> None:
    frame = declared([("yes", 0.9), ("no", 0.2), ("yes", 0.4), ("no", 0.6)])
    ranks = frame.with_columns(pl.col("score") * 10)
    assert KPIS["roc_auc"].compute(ranks) == KPIS["roc_auc"].compute(frame)
    assert KPIS["pr_auc"].compute(ranks) == KPIS["pr_auc"].compute(frame)
    hidden = KPIS["roc_auc"].compute(ranks.drop("positive"))
    assert hidden.value is None
    assert "declare `positive`" in (hidden.reason or "")


def test_a_score_of_words_is_refused() -> None:
    frame = pl.DataFrame({"outcome": ["a"], "prediction": ["a"], "score": ["high"]})
    with pytest.raises(InvalidError, match="needs numbers"):
        KPIS["roc_auc"].compute(frame)


@pytest.mark.parametrize("name", SCORES)
def test_the_interval_of_a_score_kpi_holds_the_true_value_about_as_often_as_it_says(name: str) -> None:
    rng = np.random.default_rng(11)

    def draw(rows: int) -> pl.DataFrame:
        p = stats.beta(2, 3).rvs(rows, random_state=rng)
        outcome = np.where(rng.random(rows) < np.clip(p + 0.08, 0, 1), "yes", "no")
        return pl.DataFrame(
            {"outcome": outcome, "prediction": np.where(p >= 0.5, "yes", "no"), "score": p, "positive": "yes"}
        )

    truth = KPIS[name].compute(draw(300_000)).value
    assert truth is not None
    results = [KPIS[name].compute(draw(300)) for _ in range(150)]
    held = np.mean([r.low <= truth <= r.high for r in results if r.low is not None and r.high is not None])
    assert held >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 150)

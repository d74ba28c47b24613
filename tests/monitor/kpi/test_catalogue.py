"""KPIs of predictions and outcomes against scikit-learn, their intervals and what they leave undefined."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from core.errors import InvalidError
from monitor.kpi import KPIS, KpiValue
from tests.monitor.kpi.test_columns import COLUMNS
from tests.monitor.kpi.test_scores import SCORES
from tests.monitor.kpi.test_texts import TEXTS

labels = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["a", "b", "c", "d"])), min_size=1, max_size=50
)
numbers = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=50)

CLASSIFICATION: dict[str, Callable[[list[str], list[str]], float]] = {
    "accuracy": lambda y, p: float(metrics.accuracy_score(y, p)),
    "f1_macro": lambda y, p: float(metrics.f1_score(y, p, average="macro", zero_division=0)),
    "precision_macro": lambda y, p: float(metrics.precision_score(y, p, average="macro", zero_division=0)),
    "recall_macro": lambda y, p: float(metrics.recall_score(y, p, average="macro", zero_division=0)),
    "balanced_accuracy": lambda y, p: float(metrics.balanced_accuracy_score(y, p)),
    "exact_match": lambda y, p: float(metrics.accuracy_score(y, p)),
}
REGRESSION: dict[str, Callable[[list[float], list[float]], float]] = {
    "mae": lambda y, p: float(metrics.mean_absolute_error(y, p)),
    "rmse": lambda y, p: float(metrics.root_mean_squared_error(y, p)),
    "mape": lambda y, p: float(metrics.mean_absolute_percentage_error(*_without_zeros(y, p))),
    "r2": lambda y, p: float(metrics.r2_score(y, p)),
}
LABELLED = [name for name, kpi in KPIS.items() if "outcome" in kpi.reads]


def _without_zeros(y: list[float], p: list[float]) -> tuple[list[float], list[float]]:
    kept = [(a, b) for a, b in zip(y, p, strict=True) if a != 0]
    return [a for a, _ in kept], [b for _, b in kept]


def frame(rows: list[tuple[str, str]] | list[tuple[float, float]]) -> pl.DataFrame:
    return pl.DataFrame({"outcome": [o for o, _ in rows], "prediction": [p for _, p in rows]})


def test_every_kpi_has_an_outside_reference() -> None:
    assert set(KPIS) == {*CLASSIFICATION, *REGRESSION, *SCORES, *TEXTS, *COLUMNS}


@pytest.mark.parametrize("name", CLASSIFICATION)
@given(labels)
@settings(max_examples=30)
def test_a_kpi_of_classes_equals_scikit_learn_and_lies_in_its_interval(name: str, rows: list[tuple[str, str]]) -> None:
    result = KPIS[name].compute(frame(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of one class only
        expected = CLASSIFICATION[name]([o for o, _ in rows], [p for _, p in rows])
    assert result.value == pytest.approx(expected)
    assert result.n == len(rows)
    assert result.low is not None
    assert result.high is not None
    assert -1e-12 <= result.low <= expected + 1e-12
    assert expected - 1e-12 <= result.high <= 1 + 1e-12


@pytest.mark.parametrize("name", REGRESSION)
@given(numbers)
@settings(max_examples=30)
def test_a_kpi_of_numbers_equals_scikit_learn(name: str, rows: list[tuple[float, float]]) -> None:
    result = KPIS[name].compute(frame(rows))
    outcomes = [o for o, _ in rows]
    if name == "mape" and any(0 < abs(o) < 1e-6 for o in outcomes):
        return  # scikit-learn divides by no less than 2e-16
    if name == "r2" and min(outcomes) < max(outcomes) and np.std(outcomes) < 1e-6 * max(1.0, *map(abs, outcomes)):
        return  # rounding is all that varies
    if (name == "mape" and not any(outcomes)) or (name == "r2" and min(outcomes) == max(outcomes)):
        assert result.value is None
        assert result.reason
        return
    assert result.value == pytest.approx(REGRESSION[name](outcomes, [p for _, p in rows]), rel=1e-6, abs=1e-9)
    assert (result.low is None) == (result.n == 1)
    assert result.n + result.left_out == len(rows)


@pytest.mark.parametrize("name", LABELLED)
def test_without_an_outcome_a_kpi_is_undefined_and_says_so(name: str) -> None:
    rows = pl.DataFrame(
        {"prediction": [1.0, 2.0], "outcome": [None, None], "score": [0.5, 0.7]},
        schema_overrides={"outcome": pl.Float64},
    )
    assert KPIS[name].compute(rows) == KpiValue(None, "no outcome has arrived", 0)


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "exact_match"])
def test_a_missing_prediction_is_wrong(name: str) -> None:
    rows = pl.DataFrame({"prediction": ["a", None, "b", "b"], "outcome": ["a", "a", "b", None]})
    result = KPIS[name].compute(rows)
    assert result.n == 3
    assert result.value is not None
    assert result.value < 1.0


def test_rows_without_an_outcome_change_nothing() -> None:
    rows = frame([("a", "a"), ("b", "a"), ("b", "b")])
    more = pl.concat([rows, pl.DataFrame({"outcome": [None], "prediction": ["a"]}, schema=rows.schema)])
    for name in CLASSIFICATION:
        assert KPIS[name].compute(more) == KPIS[name].compute(rows)


def test_an_absent_column_is_refused_by_name() -> None:
    with pytest.raises(InvalidError, match="'outcome'"):
        KPIS["accuracy"].compute(pl.DataFrame({"prediction": ["a"]}))


def test_a_regression_kpi_of_words_is_refused() -> None:
    with pytest.raises(InvalidError, match="needs numbers"):
        KPIS["mae"].compute(frame([("a", "b")]))


def test_a_prediction_that_is_not_finite_is_left_out_of_errors() -> None:
    assert KPIS["mae"].compute(frame([(1.0, math.nan), (1.0, 3.0)])).value == 2.0
    assert KPIS["mae"].compute(frame([(1.0, math.nan)])).value is None


def test_rows_a_regression_kpi_cannot_use_are_counted() -> None:
    rows = frame([(0.0, 1.0), (2.0, 3.0), (4.0, math.nan)])
    assert KPIS["mape"].compute(rows) == KpiValue(0.5, None, 1, left_out=2)
    assert KPIS["mae"].compute(rows).left_out == 1
    every = KPIS["mape"].compute(frame([(0.0, 1.0)]))
    assert (every.value, every.reason) == (None, "every outcome is 0, which nothing can be a share of")


def test_errors_too_large_for_a_number_are_undefined_not_infinite() -> None:
    rows = frame([(-1e200, 1e200), (1e200, 1.0)])
    assert KPIS["mae"].compute(rows).value == pytest.approx(1.5e200)
    for name in ("rmse", "r2"):
        result = KPIS[name].compute(rows)
        assert result.value is None
        assert "too large" in (result.reason or "")
    assert "too large" in (KPIS["mape"].compute(frame([(1e-300, 1e200)])).reason or "")


def test_r2_of_outcomes_that_do_not_vary_is_undefined() -> None:
    result = KPIS["r2"].compute(frame([(5.0, 4.0), (5.0, 6.0)]))
    assert result.value is None
    assert "do not vary" in (result.reason or "")


def test_balanced_accuracy_ignores_a_class_that_never_came_true_and_macro_recall_does_not() -> None:
    rows = frame([("a", "a"), ("a", "c"), ("b", "b")])
    assert KPIS["balanced_accuracy"].compute(rows).value == 0.75
    assert KPIS["recall_macro"].compute(rows).value == 0.5


def test_exact_match_forgives_case_and_white_space_only() -> None:
    rows = frame([("The  Answer", " the answer "), ("the answer.", "the answer")])
    assert KPIS["exact_match"].compute(rows).value == 0.5


@pytest.mark.parametrize(
    "name", ["accuracy", "balanced_accuracy", "f1_macro", "recall_macro", "mae", "rmse", "mape", "r2"]
)
def test_the_interval_holds_the_true_value_about_as_often_as_it_says(name: str) -> None:
    rng = np.random.default_rng(1)

    def draw(rows: int) -> pl.DataFrame:
        if name in REGRESSION:
            outcomes = rng.uniform(5.0, 10.0, rows)
            return pl.DataFrame({"outcome": outcomes, "prediction": outcomes + rng.normal(size=rows)})
        outcome = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
        prediction = np.where(rng.random(rows) < 0.8, outcome, rng.choice(3, rows))
        return pl.DataFrame({"outcome": outcome, "prediction": prediction})

    truth = KPIS[name].compute(draw(300_000)).value
    assert truth is not None
    results = [KPIS[name].compute(draw(300)) for _ in range(150)]
    held = np.mean([r.low <= truth <= r.high for r in results if r.low is not None and r.high is not None])
    assert held >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 150)

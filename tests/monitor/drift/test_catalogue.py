"""Drift statistics against scipy, and the properties they share."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from core.errors import InsufficientDataError
from monitor.drift import METHODS, TEXT_METHODS, Counts, drift_scores
from monitor.profile.block import profile_block
from monitor.profile.fit_reference import fit_reference

POSITIONS = np.array([-2.0, -0.5, 0.0, 1.5, 4.0])
pairs = st.tuples(*[st.lists(st.integers(0, 60), min_size=5, max_size=5).filter(lambda c: sum(c) > 0)] * 2)


def counts(values: list[int]) -> Counts:
    return Counts(np.array(values, dtype=np.int64), POSITIONS, 1.7)


def rows(values: list[int]) -> NDArray[np.float64]:
    return np.repeat(POSITIONS, values)


def shares(values: list[int], pseudocount: float = 0.0) -> NDArray[np.float64]:
    raised = np.array(values, dtype=np.float64) + pseudocount
    return np.asarray(raised / raised.sum(), dtype=np.float64)


REFERENCES: dict[str, Callable[[list[int], list[int]], float]] = {
    "auc": lambda a, b: abs(
        float(stats.mannwhitneyu(rows(b), rows(a), method="asymptotic").statistic) / (sum(a) * sum(b)) - 0.5
    ),
    "energy": lambda a, b: float(stats.energy_distance(rows(a), rows(b))) / math.sqrt(1.7),
    "ks": lambda a, b: float(stats.ks_2samp(rows(a), rows(b), method="asymp").statistic),
    "wasserstein": lambda a, b: float(stats.wasserstein_distance(rows(a), rows(b))) / 1.7,
    "jensen_shannon": lambda a, b: float(distance.jensenshannon(shares(a), shares(b), base=2)),
    "psi": lambda a, b: float(
        stats.entropy(shares(a, 0.5), shares(b, 0.5)) + stats.entropy(shares(b, 0.5), shares(a, 0.5))
    ),
    "psi_corrected": lambda a, b: max(
        float(stats.entropy(shares(a, 0.5), shares(b, 0.5)) + stats.entropy(shares(b, 0.5), shares(a, 0.5)))
        - (np.count_nonzero(np.add(a, b)) - 1) * (1 / sum(a) + 1 / sum(b)),
        0.0,
    ),
    "chi2": lambda a, b: float(
        stats.chi2_contingency(np.array([a, b])[:, np.add(a, b) > 0], correction=False).statistic
    ),
    "total_variation": lambda a, b: float(distance.cityblock(shares(a), shares(b))) / 2,
    "l_infinity": lambda a, b: float(distance.chebyshev(shares(a), shares(b))),
    "hellinger": lambda a, b: float(distance.euclidean(np.sqrt(shares(a)), np.sqrt(shares(b)))) / math.sqrt(2),
}


def test_every_statistic_has_an_outside_reference() -> None:
    assert set(REFERENCES) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
@given(pairs)
@settings(max_examples=40, deadline=None)
def test_a_statistic_equals_its_outside_reference(name: str, pair: tuple[list[int], list[int]]) -> None:
    a, b = pair
    assert METHODS[name].compute(counts(a), counts(b)) == pytest.approx(REFERENCES[name](a, b), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("name", METHODS)
@given(pairs)
@settings(max_examples=25, deadline=None)
def test_a_statistic_is_zero_on_equal_counts_never_negative_and_symmetric(
    name: str, pair: tuple[list[int], list[int]]
) -> None:
    a, b = pair
    compute = METHODS[name].compute
    assert compute(counts(a), counts(a)) == pytest.approx(0.0, abs=1e-7)
    assert compute(counts(a), counts(b)) >= 0.0
    assert compute(counts(a), counts(b)) == pytest.approx(compute(counts(b), counts(a)), rel=1e-9, abs=1e-9)
    if METHODS[name].unit in ("share", "distance"):
        assert compute(counts(a), counts(b)) <= 1.0 + 1e-12


@pytest.mark.parametrize("name", METHODS)
def test_a_side_without_rows_is_undefined(name: str) -> None:
    with pytest.raises(InsufficientDataError):
        METHODS[name].compute(counts([1, 2, 3, 4, 5]), counts([0, 0, 0, 0, 0]))


def test_psi_and_chi2_without_drift_have_the_mean_they_announce() -> None:
    rng = np.random.default_rng(4)
    p = [0.1, 0.2, 0.3, 0.25, 0.15]
    for name in ("psi", "chi2"):
        method = METHODS[name]
        drawn = [(Counts(rng.multinomial(400, p)), Counts(rng.multinomial(250, p))) for _ in range(1500)]
        values = np.array([method.compute(a, b) for a, b in drawn])
        assert method.expected is not None
        mean, error = values.mean(), values.std() / math.sqrt(len(values))
        assert abs(mean - method.expected(*drawn[0])) < 4 * error + 0.01 * mean, name


def test_auc_without_drift_is_as_far_from_one_half_as_mann_and_whitney_say() -> None:
    rng = np.random.default_rng(6)
    p = [0.1, 0.2, 0.3, 0.25, 0.15]
    drawn = [(Counts(rng.multinomial(400, p)), Counts(rng.multinomial(250, p))) for _ in range(1500)]
    ties = 1.0 - sum(x**3 for x in p)
    deviation = math.sqrt((400 + 250) * ties / (12 * 400 * 250))
    beyond = np.mean([METHODS["auc"].compute(a, b) > 1.96 * deviation for a, b in drawn])
    assert abs(beyond - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 1500)
    shifted = Counts(rng.multinomial(250, [0.05, 0.12, 0.28, 0.3, 0.25]))
    assert METHODS["auc"].compute(drawn[0][0], shifted) > 1.96 * deviation


def test_scores_name_every_column_and_method_and_say_why_a_value_is_undefined() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=800), "k": np.ones(800), "c": rng.choice(["a", "b"], 800)})
    baseline = fit_reference(frame, {"x": "number", "k": "number", "c": "category"}, blocks=8)
    moved = frame.head(300).with_columns(pl.col("x") + 1.0, pl.lit("new").alias("c"))
    scores = {(s.column, s.method): s for s in drift_scores(baseline, profile_block(moved, baseline))}
    assert {column for column, _ in scores} == {"x", "k", "c", ""}
    assert {method for _, method in scores} == {*METHODS, *TEXT_METHODS}
    assert scores["c", "ks"].reason == "categories have no order, which this statistic needs"
    assert scores["", "oov"].reason == "no text column is watched"
    constant = scores["k", "wasserstein"]
    assert constant.value is None
    assert constant.reason is not None
    assert "does not vary" in constant.reason
    assert scores["c", "total_variation"].value == 1.0
    assert scores["x", "wasserstein"].value == pytest.approx(1.0, abs=0.08)
    exact = stats.ks_2samp(frame["x"].to_numpy(), moved["x"].to_numpy()).statistic
    assert scores["x", "ks"].value == pytest.approx(exact, abs=0.01)
    assert scores["x", "psi"].n_current == 300


def test_a_window_without_rows_has_no_value_anywhere() -> None:
    frame = pl.DataFrame({"x": np.arange(300.0)})
    baseline = fit_reference(frame, {"x": "number"}, blocks=3)
    assert all(s.value is None and s.reason for s in drift_scores(baseline, profile_block(frame.head(0), baseline)))


def test_values_too_large_to_be_squared_leave_two_statistics_undefined_and_no_error() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": 1e300 + 1e299 * rng.normal(size=400)})
    baseline = fit_reference(frame, {"x": "number"}, blocks=8)
    scores = {s.method: s for s in drift_scores(baseline, profile_block(frame.head(100), baseline)) if s.column}
    assert {name for name, score in scores.items() if score.value is None} == {"wasserstein", "energy"}
    assert "too large" in (scores["wasserstein"].reason or "")

"""The ends of an interval at any level: a limit that holds is rarely said to be crossed, from few rows on."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, binomtest, norm

from monitor.kpi import KPIS
from monitor.kpi.base import KpiValue
from monitor.kpi.bounds import Mean, Resampled, Share
from monitor.kpi.intervals import wilson
from monitor.kpi.operations.latency import Quantile
from monitor.kpi.scores import Graded, area

ALPHA, WINDOWS = 0.01, 800
Draw = Callable[[np.random.Generator], KpiValue]


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (30, 30), (1, 30), (17, 40), (399, 400)])
def test_the_ends_of_a_share_are_those_of_scipy(hits: int, n: int) -> None:
    exact = binomtest(hits, n).proportion_ci(0.98, method="exact")
    assert Share(hits, n)(0.01) == pytest.approx((exact.low, exact.high))


def labelled(outcome: np.ndarray, prediction: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"outcome": outcome.astype(str), "prediction": prediction.astype(str)})


def f1(random: np.random.Generator, rows: int, classes: int, right: float) -> KpiValue:
    weight = np.arange(1, classes + 1) / (classes * (classes + 1) / 2)
    outcome = random.choice(classes, rows, p=weight)
    prediction = np.where(random.random(rows) < right, outcome, random.integers(0, classes, rows))
    return KPIS["f1_macro"].compute(labelled(outcome, prediction))


def auc(random: np.random.Generator, sizes: tuple[int, int], value: float) -> KpiValue:
    distance = float(norm.ppf(value)) * 2**0.5
    score = np.concatenate([random.normal(distance, 1, sizes[0]), random.normal(0, 1, sizes[1])])
    return area(Graded(np.arange(sum(sizes)) < sizes[0], score, 0), ("a", "b"))


def share(hits: int, n: int) -> KpiValue:
    return KpiValue(hits / n, None, n, bounds=Share(hits, n))


def mean(values: np.ndarray, lowest: float = -np.inf, highest: float = np.inf) -> KpiValue:
    return KpiValue(float(values.mean()), None, len(values), bounds=Mean(values, lowest, highest))


DRAWS: dict[str, tuple[Draw, float]] = {
    "a share near 1": (lambda r: share(int(r.binomial(30, 0.97)), 30), 0.97),
    "a mean of skewed numbers": (lambda r: mean(r.exponential(1.0, 30)), 1.0),
    "a mean that is mostly 0": (lambda r: mean((r.random(30) < 0.05) * 1.0, 0.0, 1.0), 0.05),
    "an area near 1": (lambda r: auc(r, (15, 15), 0.95), 0.95),
    "an area of few positives": (lambda r: auc(r, (10, 190), 0.8), 0.8),
    "a quantile": (lambda r: KpiValue(0, None, 200, bounds=Quantile(np.sort(r.random(200)), 0.95)), 0.95),
}


@pytest.mark.parametrize("case", DRAWS)
def test_the_upper_end_lies_below_the_true_value_at_most_at_the_stated_rate(case: str) -> None:
    """The side on which a KPI alarms below its minimum."""
    draw, truth = DRAWS[case]
    random = np.random.default_rng(7)
    crossed = 0
    for _ in range(WINDOWS):
        found = draw(random)
        high = found.bounds(ALPHA)[1] if found.bounds is not None else None
        crossed += high is not None and high < truth
    assert crossed <= binom.ppf(0.999, WINDOWS, ALPHA)


@pytest.mark.parametrize(("rows", "classes", "right"), [(30, 2, 0.9), (60, 10, 0.8)])
def test_the_upper_end_of_a_macro_average_of_rare_classes_holds(rows: int, classes: int, right: float) -> None:
    random = np.random.default_rng(3)
    truth = f1(random, 200_000, classes, right).value
    assert truth is not None
    ends = [found.bounds(ALPHA)[1] for found in (f1(random, rows, classes, right) for _ in range(300)) if found.bounds]
    assert sum(high is not None and high < truth for high in ends) <= binom.ppf(0.999, 300, ALPHA)


def test_r2_holds_on_errors_with_heavy_tails() -> None:
    random = np.random.default_rng(5)

    def draw(rows: int) -> pl.DataFrame:
        x = random.standard_t(4, rows)
        return pl.DataFrame({"prediction": x, "outcome": x + 0.5 * random.standard_t(4, rows)})

    truth = KPIS["r2"].compute(draw(1_000_000)).value
    assert truth is not None
    ends = [found.bounds(ALPHA) for found in (KPIS["r2"].compute(draw(40)) for _ in range(200)) if found.bounds]
    assert sum(not (low or -9.0) <= truth <= (high or 9.0) for low, high in ends) <= binom.ppf(0.999, 400, ALPHA)


def test_rows_that_are_all_alike_bound_a_kpi_of_an_expression_only_if_they_are_many() -> None:
    assert Resampled(0.0, 0.0, 30)(0.001) == (None, None)
    assert Resampled(0.0, 0.0, 200)(0.001) == (0.0, 0.0)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 30, 97, 1000, 12_345])
def test_the_ends_of_a_share_lie_within_0_and_1_and_reach_them(n: int) -> None:
    for hits in sorted({0, 1, n // 2, n - 1, n}):
        theirs = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        low, high = wilson(hits, n)
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        for bottom, top in ((low, high), Share(hits, n)(0.025)):
            assert 0.0 <= bottom <= hits / n <= top <= 1.0
            assert (bottom == 0.0) == (hits == 0)
            assert (top == 1.0) == (hits == n)


@pytest.mark.parametrize("rows", [1, 2, 7, 29, 150])
@pytest.mark.parametrize("right", [True, False])
def test_no_kpi_of_shares_leaves_its_range_where_every_row_is_alike(rows: int, right: bool) -> None:
    asked = "one two three four"
    frame = pl.DataFrame({
        "prediction": [asked if right else "five six seven eight"] * rows, "outcome": [asked] * rows,
        "column": [right] * rows, "score": [1.0 if right else 0.0] * rows,
    })  # fmt: skip
    for name, kpi in KPIS.items():
        if kpi.unit not in ("share", "points of 100") or kpi.column_types not in ((), ("boolean",)):
            continue
        found, top = kpi.compute(frame), 100.0 if kpi.unit == "points of 100" else 1.0
        ends = [found.value, found.low, found.high, *(found.bounds(1e-4) if found.bounds is not None else ())]
        for end in (end for end in ends if end is not None):
            assert 0.0 <= end <= top, (name, ends)
            assert math.copysign(1.0, end) == 1.0, (name, ends)


def test_more_classes_than_a_matrix_may_have_are_a_reason_and_no_failure() -> None:
    many = np.array([f"c{i}" for i in range(1500)])
    for name in ("f1_macro", "precision_macro", "recall_macro", "balanced_accuracy"):
        found = KPIS[name].compute(labelled(many, many))
        assert (found.value, found.n) == (None, 1500)
        assert "1500 classes" in (found.reason or "")
    assert KPIS["accuracy"].compute(labelled(many, many)).value == 1

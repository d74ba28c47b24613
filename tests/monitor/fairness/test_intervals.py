"""Intervals of rates, differences, ratios and means: against published tables, statsmodels, scipy, coverage."""

from typing import Literal

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import proportion  # type: ignore[import-untyped]  # no stubs

from core.arrays import Floats, Ints
from monitor.fairness import intervals
from monitor.fairness.bounds import Pairs, PairwiseBounds
from monitor.fairness.comparisons import DIFFERENCE, DISPARITIES, RATIO, Disparity, compared
from monitor.fairness.estimates import of_means, of_shares
from monitor.fairness.intervals import Ends, reported

# Newcombe (1998), Statistics in Medicine 17, 873-890, table II: method 6 (Miettinen and Nurminen) and method 10.
PUBLISHED = [
    ((56, 70, 48, 80), (0.0528, 0.3382), (0.0524, 0.3339)),
    ((9, 10, 3, 10), (0.1700, 0.8406), (0.1705, 0.8090)),
    ((6, 7, 2, 7), (0.0342, 0.8534), (0.0582, 0.8062)),
    ((5, 56, 0, 29), (-0.0326, 0.1933), (-0.0381, 0.1926)),
    ((0, 10, 0, 20), (-0.1658, 0.2844), (-0.1611, 0.2775)),
    ((0, 10, 0, 10), (-0.2879, 0.2879), (-0.2775, 0.2775)),
    ((10, 10, 0, 20), (0.7156, 1.0000), (0.6791, 1.0000)),
    ((10, 10, 0, 10), (0.6636, 1.0000), (0.6075, 1.0000)),
]
COUNTS = np.array([(3, 30, 9, 40), (0, 31, 5, 50), (30, 30, 12, 33), (500, 1000, 450, 1000), (7, 300, 90, 900)])
SHARES = np.arange(0.05, 0.96, 0.05)


def bounds_of(hits: Ints, n: Ints, disparity: Disparity) -> PairwiseBounds:
    return PairwiseBounds([Pairs.of(of_shares(hits, n), "between")], disparity)


@pytest.mark.parametrize(("counts", "score", "hybrid"), PUBLISHED)
def test_differences_have_the_published_ends(
    counts: tuple[int, ...], score: tuple[float, float], hybrid: tuple[float, float]
) -> None:
    assert [float(x) for x in intervals.miettinen_nurminen(*counts)] == pytest.approx(score, abs=5.1e-5)
    assert [float(x) for x in intervals.newcombe(*counts)] == pytest.approx(hybrid, abs=5.1e-5)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("name", "method"), [("wilson", "wilson"), ("clopper_pearson", "beta")])
def test_rates_have_the_ends_of_statsmodels(name: str, method: str, level: float) -> None:
    hits, n = np.array([0, 1, 7, 15, 30, 400]), np.array([30, 30, 31, 30, 30, 1000])
    found = getattr(intervals, name)(hits, n, level)
    expected = proportion.proportion_confint(hits, n, alpha=1 - level, method=method)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_differences_and_ratios_have_the_ends_of_statsmodels() -> None:
    hybrid, scored = np.stack(intervals.newcombe(*COUNTS.T)), np.stack(intervals.ratio(*COUNTS.T))
    for at, counts in enumerate(COUNTS):
        expected = proportion.confint_proportions_2indep(*counts, compare="diff", method="newcomb")
        assert hybrid[:, at] == pytest.approx(expected, abs=1e-10)
        if counts[0] not in (0, counts[1]):  # there statsmodels takes the value itself for an end
            expected = proportion.confint_proportions_2indep(*counts, compare="ratio", method="score")
            assert scored[:, at] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("of_pairs", "value"),
    [(intervals.newcombe, np.subtract), (intervals.miettinen_nurminen, np.subtract), (intervals.ratio, np.divide)],
)
def test_the_coverage_of_pairs_of_thirty_rows_is_as_nominal(of_pairs: object, value: np.ufunc) -> None:
    n = 30
    a, b = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    low, high = of_pairs(a, n, b, n)  # type: ignore[operator]
    chance: Floats = np.array([stats.binom.pmf(np.arange(n + 1), n, p) for p in SHARES])
    covered = [
        chance[i] @ ((low <= value(p, q) + 1e-12) & (value(p, q) - 1e-12 <= high)) @ chance[j]
        for i, p in enumerate(SHARES)
        for j, q in enumerate(SHARES)
    ]
    assert 0.93 <= np.mean(covered) <= 0.97
    assert min(covered) >= 0.9


@pytest.mark.parametrize("kind", ["difference", "ratio"])
def test_the_coverage_of_a_group_against_all_rows_is_as_nominal(kind: Literal["difference", "ratio"]) -> None:
    rng, n = np.random.default_rng(1), np.array([30, 90])
    for p, q in ((0.1, 0.1), (0.3, 0.6), (0.9, 0.5)):
        overall = (n * [p, q]).sum() / n.sum()
        truth = p - overall if kind == "difference" else p / overall
        held = []
        for hits in rng.binomial(n, [p, q], size=(150, 2)):
            rest = of_shares(hits.sum() - hits, n.sum() - n)
            pairs = Pairs.of(of_shares(hits, n), "overall", rest=rest)
            low, high = pairs.ends(DISPARITIES[kind], 0.95, exact=False)
            held.append(low[0] <= truth <= high[0])
        assert 0.9 <= np.mean(held) <= 0.99


def test_means_have_the_ends_of_scipy_and_one_value_has_none() -> None:
    values = np.random.default_rng(2).normal(10, 3, 12)
    sums = np.array([[12, values.sum(), (values**2).sum()], [1, 3.0, 9.0]])
    low, high = of_means(sums).interval()
    assert [low[0], high[0]] == pytest.approx(stats.t.interval(0.95, 11, values.mean(), stats.sem(values)))
    assert np.isnan([low[1], high[1]]).all()


def test_what_has_no_rows_has_no_interval_and_no_warning() -> None:
    undefined: list[Ends] = [
        intervals.wilson(0, 0), intervals.clopper_pearson(0, 0), intervals.newcombe(0, 0, 1, 2),
        intervals.miettinen_nurminen(1, 2, 0, 0), intervals.ratio(0, 0, 1, 2), intervals.ratio(1, 2, 0, 0),
    ]  # fmt: skip
    assert all(reported(float(end)) is None for ends in undefined for end in ends)
    # A reference rate of 0: the ratio has no upper end, and its lower end is known.
    low, high = intervals.ratio(6, 30, 0, 30)
    assert low > 1
    assert reported(float(high)) is None
    assert [float(x) for x in intervals.ratio(0, 30, 0, 30)] == [0.0, np.inf]


def test_a_level_that_is_no_probability_is_refused_with_the_fix() -> None:
    for level in (0.0, 1.0, 95.0, float("nan")):
        with pytest.raises(ValueError, match=r"level is .*; give a probability between 0 and 1"):
            intervals.wilson(1, 2, level)


@pytest.mark.parametrize("disparity", [DIFFERENCE, RATIO])
@pytest.mark.parametrize("groups", [2, 6])
def test_the_interval_of_the_worst_disparity_holds_it_however_many_groups(disparity: Disparity, groups: int) -> None:
    rng, runs = np.random.default_rng(groups), 60
    for spread in (0.0, 0.3):
        rates = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, groups)
        truth = compared(rates, disparity, "between").value
        held = 0
        for _ in range(runs):
            hits, n = rng.binomial(60, rates), np.full(groups, 60)
            low, high = bounds_of(hits, n, disparity).interval()
            assert low is not None
            assert high is not None
            held += low <= truth + 1e-12 and truth - 1e-12 <= high
        assert held / runs >= 0.9


def test_a_group_without_rows_is_left_out_of_the_pairs_and_one_alone_has_no_interval() -> None:
    hits, n = np.array([10, 0, 25]), np.array([40, 0, 50])
    with_empty = bounds_of(hits, n, DIFFERENCE)
    without = bounds_of(hits[[0, 2]], n[[0, 2]], DIFFERENCE)
    assert with_empty.interval() == without.interval()
    assert with_empty(0.01) == without(0.01)
    alone = bounds_of(np.array([10, 0]), np.array([40, 0]), RATIO)
    assert alone.interval() == (None, None)
    assert alone(0.01) == (None, None)

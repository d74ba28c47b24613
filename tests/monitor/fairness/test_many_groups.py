"""Many groups at once: corrected tests, the four-fifths line, shrinkage, and evidence over windows."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]  # no stubs

from core.arrays import Ints
from monitor.fairness.multiplicity import against_rest, fisher, four_fifths, holm, score
from monitor.fairness.sequential import Sides, evidence
from monitor.fairness.shrinkage import shrunk


def test_holm_s_p_values_are_those_of_statsmodels_and_tests_that_were_not_made_do_not_count() -> None:
    p = np.random.default_rng(0).random(12) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    with_gap = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(with_gap, [0.02, np.nan, 0.04])
    assert holm([]).size == 0


def test_fisher_s_p_values_are_those_of_scipy_and_of_chi_squared_where_rows_are_many() -> None:
    tables = np.array([(3, 30, 9, 40), (0, 10, 5, 10), (0, 10, 0, 12), (12, 12, 9, 9)])
    expected = [stats.fisher_exact(np.array([[a, n - a], [b, m - b]])).pvalue for a, n, b, m in tables]
    np.testing.assert_allclose(fisher(*tables.T), expected)
    assert float(score(5000, 10_000, 5100, 10_000)) == pytest.approx(
        stats.chi2_contingency([[5000, 5000], [5100, 4900]], correction=False).pvalue
    )
    assert [float(score(0, 5, 0, 9)), float(score(5, 5, 9, 9))] == [1.0, 1.0]
    assert np.isnan(score(0, 0, 3, 10))
    assert np.isnan(fisher(0, 0, 3, 10))


@pytest.mark.parametrize("groups", [2, 10, 40])
def test_groups_that_do_not_differ_are_found_to_differ_at_most_as_often_as_stated(groups: int) -> None:
    rng, runs = np.random.default_rng(groups), 60
    n = np.full(groups, 40)
    wrong = sum(bool((against_rest(rng.binomial(n, 0.3), n) < 0.05).any()) for _ in range(runs))
    assert wrong <= stats.binom.ppf(0.999, runs, 0.05)


def test_two_groups_are_one_test_which_needs_no_correction() -> None:
    p = against_rest(np.array([9, 10, 0]), np.array([18, 32, 0]))
    expected = stats.fisher_exact(np.array([[9, 9], [10, 22]])).pvalue
    assert p.tolist()[:2] == pytest.approx([expected, expected])
    assert np.isnan(p[2])


def test_the_four_fifths_line_stands_beside_an_exact_test_of_each_group_and_names_the_best() -> None:
    # 100 of 1,000 against 200 of 1,000: half the rate, and certain. 3 of 20: below the line, and perhaps by chance.
    found = four_fifths(np.array([100, 200, 3]), np.array([1000, 1000, 20]))
    assert [(i.group, i.best) for i in found] == [(0, 1), (2, 1)]
    assert found[0].ratio == pytest.approx(0.5)
    assert found[0].below
    assert number(found[0].high) < 0.8
    assert number(found[0].adjusted_p) < 1e-6
    assert found[1].below
    assert number(found[1].high) > 0.8
    assert found[1].p == pytest.approx(stats.fisher_exact(np.array([[3, 17], [200, 800]])).pvalue)
    assert number(found[1].adjusted_p) > 0.05


def test_a_highest_rate_of_zero_and_a_group_that_never_appears_have_a_reason_and_no_number() -> None:
    (found,) = four_fifths(np.array([0, 0]), np.array([10, 12]))
    assert (found.ratio, found.low, found.high, found.below) == (None, None, None, None)
    assert found.reason == "the highest rate is 0"
    _, absent = four_fifths(np.array([5, 4, 0]), np.array([10, 12, 0]))
    assert (absent.ratio, absent.reason, absent.p) == (None, "the group has no rows", None)
    assert four_fifths(np.array([5, 0]), np.array([10, 0])) == []


def test_small_groups_are_drawn_towards_the_common_rate_and_large_ones_hardly() -> None:
    hits, n = np.array([300, 420, 360, 3, 0]), np.array([1000, 1000, 1000, 4, 0])
    found = shrunk(hits, n)
    assert found.reason is None
    assert found.rate[:3] == pytest.approx(hits[:3] / n[:3], abs=0.01)
    assert 0.36 < found.rate[3] < 0.6  # raw 0.75
    assert found.rate[4] == pytest.approx(found.towards, abs=0.01)
    assert ((found.low < found.rate) & (found.rate < found.high)).all()
    assert found.high[3] - found.low[3] < 0.5


def test_shrunk_intervals_of_small_groups_hold_the_rates_that_they_were_drawn_from() -> None:
    rng, held, raw_error, error = np.random.default_rng(5), [], [], []
    n = np.full(20, 12)
    for _ in range(40):
        rates = rng.beta(12, 28, 20)
        hits = rng.binomial(n, rates)
        found = shrunk(hits, n)
        held += list((found.low <= rates) & (rates <= found.high))
        error.append(np.mean((found.rate - rates) ** 2))
        raw_error.append(np.mean((hits / n - rates) ** 2))
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(error) < 0.6 * np.mean(raw_error)


def test_what_cannot_be_shrunk_says_why() -> None:
    few = shrunk(np.array([1, 2, 0]), np.array([5, 5, 0]))
    assert few.reason == "fewer than 3 groups have rows"
    assert np.isnan(few.rate).all()
    same = shrunk(np.array([5, 6, 7]), np.array([5, 6, 7]))
    assert same.reason == "every group has the same rate, none or all of its rows"


def number(value: float | None) -> float:
    assert value is not None
    return value


def pairs(hits: Ints, n: Ints) -> Sides:
    """Every ordered pair of groups in each window; shape (windows, groups) each."""
    a, b = np.nonzero(~np.eye(hits.shape[1], dtype=bool))
    return Sides(hits[:, a], n[:, a], hits[:, b], n[:, b])


def first_alarm(rates: list[float], n: int, windows: int, seed: int, *, slope: float, intercept: float) -> int | None:
    rng, error = np.random.default_rng(seed), 0.025
    rows = np.full((windows, len(rates)), n)
    hits = rng.binomial(rows, rates)
    for seen in range(2, windows + 1):
        found = evidence(pairs(hits[:seen], rows[:seen]), slope=slope, intercept=intercept, error=error)
        if found.log_e >= np.log(1 / error):
            return seen
    return None


def test_a_small_difference_that_lasts_is_found_over_windows_that_see_nothing_alone() -> None:
    found = [first_alarm([0.5, 0.42], 200, 30, seed, slope=1.0, intercept=0.0) for seed in range(10)]
    assert sum(at is not None for at in found) >= 9


@pytest.mark.parametrize(
    ("rates", "slope", "intercept"),
    [([0.5, 0.5], 1.0, 0.0), ([0.3, 0.2], 1.0, 0.1), ([0.5, 0.4], 1 / 0.8, 0.0), ([0.05, 0.05, 0.05], 1.0, 0.0)],
)
def test_a_disparity_at_its_limit_alarms_at_most_as_often_as_stated_however_often_it_is_looked_at(
    rates: list[float], slope: float, intercept: float
) -> None:
    runs = 25
    found = [first_alarm(rates, 60, 20, seed, slope=slope, intercept=intercept) for seed in range(runs)]
    assert sum(at is not None for at in found) <= stats.binom.ppf(0.999, runs, 0.025)


def test_windows_whose_mix_of_rows_changes_are_no_evidence_where_the_groups_fare_alike_in_each() -> None:
    # Pooled, the first group fares worse (Simpson): 0.26 against 0.74. In no window does it.
    rng = np.random.default_rng(6)
    rates = np.tile([0.2, 0.8], 20)[:, None] * np.ones((1, 2))
    n = np.tile([[180, 20], [20, 180]], (20, 1))
    found = evidence(pairs(rng.binomial(n, rates), n), slope=1.0, intercept=0.0, error=0.025)
    assert found.log_e < np.log(1 / 0.025)


def test_evidence_ends_when_the_disparity_does_and_empty_windows_say_nothing() -> None:
    rng = np.random.default_rng(7)
    n = np.full((60, 2), 200)
    hits = rng.binomial(n, np.where(np.arange(60)[:, None] < 30, [0.6, 0.4], [0.5, 0.5]))
    during = evidence(pairs(hits[:30], n[:30]), slope=1.0, intercept=0.0, error=0.025)
    after = evidence(pairs(hits, n), slope=1.0, intercept=0.0, error=0.025)
    assert during.log_e >= np.log(1 / 0.025) > after.log_e
    assert during.leading == 0
    n[5] = hits[5] = 0
    assert evidence(pairs(hits[:30], n[:30]), slope=1.0, intercept=0.0, error=0.025).windows == 29
    none = evidence(pairs(hits[:, :1], n[:, :1]), slope=1.0, intercept=0.0, error=0.025)
    assert (none.log_e, none.leading) == (0.0, None)

"""KPIs of one named column: latency, tokens, cost, errors, feedback and logged log-probabilities."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss

from core.errors import InvalidError
from monitor.kpi import KPIS

NUMBERS: dict[str, Callable[[list[float]], float]] = {
    "latency_p50": lambda x: float(np.median(x)),
    "latency_p95": lambda x: float(np.percentile(x, 95)),
    "latency_p99": lambda x: float(np.percentile(x, 99)),
    "mean_tokens": lambda x: float(stats.tmean(x)),
    "mean_cost": lambda x: float(stats.tmean(x)),
    "csat_mean": lambda x: float(stats.tmean(x)),
}
SHARES = ["error_rate", "thumbs_up_share", "first_contact_resolution", "escalation_rate"]
COLUMNS = {*NUMBERS, *SHARES, "perplexity"}

positive = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60)


def column(values: object, dtype: object = None) -> pl.DataFrame:
    return pl.DataFrame({"column": pl.Series(values, dtype=dtype)})  # type: ignore[arg-type]  # any list


@pytest.mark.parametrize("name", NUMBERS)
@given(positive)
@settings(max_examples=30)
def test_a_kpi_of_a_number_column_equals_its_outside_reference(name: str, values: list[float]) -> None:
    result = KPIS[name].compute(column(values))
    expected = NUMBERS[name](values)
    assert result.value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert result.n == len(values)
    assert result.low is None or result.low <= expected * (1 + 1e-9) + 1e-9
    assert result.high is None or result.high >= expected * (1 - 1e-9) - 1e-9
    assert KPIS[name].compute(column(values[::-1])).value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_row_without_a_finite_number_is_left_out_and_counted(name: str) -> None:
    result = KPIS[name].compute(column([1.0, None, math.inf, math.nan, 3.0]))
    assert result.value == pytest.approx(NUMBERS[name]([1.0, 3.0]))
    assert (result.n, result.left_out) == (2, 3)


@pytest.mark.parametrize("name", SHARES)
@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=40))
@settings(max_examples=20)
def test_a_share_of_true_is_one_of_the_rows_with_an_entry(name: str, values: list[bool | None]) -> None:
    result = KPIS[name].compute(column(values, pl.Boolean))
    known = [v for v in values if v is not None]
    assert result.left_out == len(values) - len(known)
    if not known:
        assert result.value is None
        assert result.reason
        return
    assert result.value == pytest.approx(sum(known) / len(known))
    wilson = stats.binomtest(sum(known), len(known)).proportion_ci(method="wilson")
    assert result.low == pytest.approx(wilson.low, abs=1e-9)
    assert result.high == pytest.approx(wilson.high, abs=1e-9)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_column_without_an_entry_or_without_rows_is_undefined_with_a_reason(name: str) -> None:
    for frame in (column([None, None], pl.String), column([], pl.Float64)):
        result = KPIS[name].compute(frame)
        assert (result.value, result.n, result.left_out) == (None, 0, frame.height)
        assert result.reason


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_column_of_words_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match=r"needs (numbers|true or false)"):
        KPIS[name].compute(column(["slow", "fast"]))


def test_few_rows_do_not_bound_a_high_percentile_from_above() -> None:
    rng = np.random.default_rng(0)
    few = KPIS["latency_p99"].compute(column(rng.exponential(size=200)))
    assert few.high is None
    assert few.low is not None
    many = KPIS["latency_p99"].compute(column(rng.exponential(size=2000)))
    assert many.high is not None
    assert many.value is not None
    assert many.value < many.high


@pytest.mark.parametrize("name", ["latency_p50", "latency_p95", "latency_p99", "mean_tokens"])
def test_the_interval_holds_the_true_value_about_as_often_as_it_says(name: str) -> None:
    rng = np.random.default_rng(2)
    share = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}.get(name)
    truth = 5.0 if share is None else 5.0 * -math.log(1 - share)
    held = []
    for _ in range(300):
        result = KPIS[name].compute(column(rng.exponential(5.0, 1000)))
        assert result.low is not None
        assert result.high is not None
        held.append(result.low <= truth <= result.high)
    assert np.mean(held) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


def test_perplexity_of_probabilities_is_exp_of_their_log_loss() -> None:
    p = np.random.default_rng(1).uniform(0.05, 1.0, 500)
    result = KPIS["perplexity"].compute(column(np.log(p)))
    expected = math.exp(log_loss(np.ones(500), p, labels=[0, 1]))
    assert result.value == pytest.approx(expected)
    assert result.low is not None
    assert result.high is not None
    assert 1.0 <= result.low < expected < result.high
    assert KPIS["perplexity"].compute(column(np.full(20, -math.log(32.0)))).value == pytest.approx(32.0)


def test_a_log_probability_above_0_is_left_out_and_one_too_low_is_undefined_not_infinite() -> None:
    result = KPIS["perplexity"].compute(column([-1.0, 0.5, -1.0, None]))
    assert result.value == pytest.approx(math.e)
    assert (result.n, result.left_out) == (2, 2)
    too_low = KPIS["perplexity"].compute(column([-2000.0, -1000.0]))
    assert too_low.value is None
    assert "too low" in (too_low.reason or "")

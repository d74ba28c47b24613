"""Data quality: what each check flags, the false-alarm rate of its test, and that a planted fault is found."""

import gc
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from monitor.quality import QUALITY, FaultCounts, adjusted, counts, rise
from monitor.quality.base import overdispersion
from tests.examples import examples

START = datetime(2026, 1, 1, tzinfo=UTC)


def column(values: list[object], dtype: object = None) -> pl.DataFrame:
    return pl.DataFrame({"value": pl.Series(values, dtype=dtype, strict=False)})  # type: ignore[arg-type]  # any list


def times(late: list[float], name: str) -> pl.DataFrame:
    ts = [START + timedelta(minutes=i) for i in range(len(late))]
    return pl.DataFrame({"ts": ts, name: [t + timedelta(seconds=s) for t, s in zip(ts, late, strict=True)]})


def flagged(name: str, reference: pl.DataFrame, window: pl.DataFrame, **limits: float) -> list[bool | None]:
    check = QUALITY[name]
    learned = check.learn(reference, dict(limits))
    assert learned is not None
    return check.flag(window, learned).to_list()


def test_each_check_flags_what_it_says() -> None:
    numbers, words = column([0.0, 10.0, 4.0]), column(["a", "b"])
    assert flagged("missing", numbers, column([1.0, None])) == [False, True]
    assert flagged("out_of_range", numbers, column([-5.0, -5.1, 15.0, 15.1, None])) == [False, True, False, True, None]
    assert flagged("out_of_range", numbers, column([-0.1, 15.1]), min=0.0) == [True, True]
    assert flagged("out_of_range", numbers, column([70.0, 99.0]), min=0.0, max=80.0) == [False, True]
    assert flagged("unseen", words, column(["a", "c", None], pl.String)) == [False, True, None]
    rows = pl.DataFrame({"event_id": ["1", "2", "3"], "x": [1, 1, 2], "y": ["a", "a", "a"]})
    assert flagged("duplicates", rows, rows) == [False, True, False]
    assert flagged("freshness", times([1.0] * 99 + [9.0], "received_at"), times([5.0, 10.0], "received_at")) == [
        False,
        True,
    ]
    late = flagged("label_delay", times([60.0] * 100, "outcome_ts"), times([60.0, 61.0], "outcome_ts"))
    assert late == [False, True]


def test_what_cannot_be_learned_is_not_checked() -> None:
    assert QUALITY["out_of_range"].learn(column([None], pl.Float64), {}) is None
    assert QUALITY["out_of_range"].learn(column([None], pl.Float64), {"min": 0.0, "max": 1.0}) is not None
    assert QUALITY["unseen"].learn(column([str(i) for i in range(6000)]), {}) is None


def test_a_row_is_a_duplicate_of_one_near_it_only() -> None:
    rows = pl.DataFrame({"x": [*range(200), 0, 0]})
    assert QUALITY["duplicates"].flag(rows, {}).to_list() == [False] * 201 + [True]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=examples(50))
def test_adjusted_p_values_are_holms(p: list[float]) -> None:
    gc.freeze()  # statsmodels asks for a full garbage collection with each call
    np.testing.assert_allclose(adjusted(p), multipletests(p, method="holm")[1], atol=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=examples(50))
def test_the_test_of_independent_faults_is_the_exact_conditional_one(before: int, now: int) -> None:
    even = FaultCounts(tuple([before // 20 + (i < before % 20) for i in range(20)]), (250,) * 20)
    assume(overdispersion(even) == 1.0)  # a single fault has a spread of 1.0002
    found = rise(even, FaultCounts((now,), (1000,)))
    expected = stats.binomtest(now, before + now, 1 / 6, alternative="greater").pvalue if now else 1.0
    assert found.p == pytest.approx(expected)


@pytest.mark.parametrize(("share", "runs"), [(0.001, 1), (0.05, 1), (0.3, 1), (0.05, 10)])
def test_without_a_change_the_test_alarms_no_more_often_than_its_level(share: float, runs: int) -> None:
    """`runs`: faults come that many in a row, as when an upstream system is down."""
    random = np.random.default_rng(1)

    def draw(rows: int) -> pl.Series:
        return pl.Series(np.repeat(random.random(rows // runs) < share, runs))

    p = [rise(counts(draw(4000)), counts(draw(1000))).p for _ in range(600)]
    below = np.mean([x <= 0.02 for x in p if x is not None])
    # The spread of blocks is itself estimated from 20 of them, so with runs the rate may exceed its level a little.
    allowed = 0.02 if runs == 1 else 0.04
    assert below <= allowed + 3 * math.sqrt(allowed / 600)


def test_a_rise_of_a_share_is_found() -> None:
    random = np.random.default_rng(2)
    reference = counts(pl.Series(random.random(4000) < 0.01))
    found = rise(reference, counts(pl.Series(random.random(1000) < 0.05)))
    assert found.p is not None
    assert found.p < 1e-6
    fallen = rise(reference, counts(pl.Series([False] * 1000)))
    assert fallen.p == 1.0


def test_blocks_that_differ_raise_the_spread() -> None:
    assert overdispersion(FaultCounts((5,) * 20, (100,) * 20)) == 1.0
    assert overdispersion(FaultCounts((50,) + (0,) * 19, (100,) * 20)) > 10
    assert overdispersion(FaultCounts((0,) * 20, (100,) * 20)) == 1.0


@pytest.mark.parametrize("rows", [0, 8, 199])
def test_few_rows_are_not_tested_and_say_so(rows: int) -> None:
    found = rise(counts(pl.Series([False] * 4000)), counts(pl.Series([True] * rows, dtype=pl.Boolean)))
    assert found.p is None
    assert found.reason

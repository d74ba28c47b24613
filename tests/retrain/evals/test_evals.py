"""Each evaluation against an outside reference, its properties, and its interval under no change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from core.errors import InvalidError
from retrain.evals import EVALS, accuracy, f1_macro, perplexity
from retrain.evals.base import wilson
from retrain.evals.paired import accuracy_difference, f1_macro_difference, perplexity_difference

names = st.lists(st.sampled_from("abcd"), min_size=1, max_size=40)
pairs = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40)


def test_the_table_lists_every_evaluation_under_its_name() -> None:
    assert {e.EVAL.name: e.EVAL for e in (accuracy, f1_macro, perplexity)} == EVALS


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_equals_scipy(case: tuple[int, int]) -> None:
    successes, n = case
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_wilson_interval_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).binomial(80, 0.85, size=2000)
    covered = np.mean([low <= 0.85 <= high for low, high in (wilson(int(k), 80) for k in draws)])
    assert 0.93 < covered < 0.97


@settings(max_examples=30)
@given(pairs)
def test_f1_macro_equals_scikit_learn(rows: list[tuple[str, str]]) -> None:
    truth, guess = zip(*rows, strict=True)
    found = f1_macro.evaluate(truth, guess)
    assert found.value == pytest.approx(f1_score(truth, guess, average="macro"))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high <= 1


@settings(max_examples=30)
@given(pairs, st.randoms())
def test_accuracy_and_f1_do_not_depend_on_the_order_or_the_names(rows: list[tuple[str, str]], random: object) -> None:
    truth, guess = zip(*rows, strict=True)
    other = {"a": "x", "b": "y", "c": "z", "d": "w"}
    for entry in (accuracy, f1_macro):
        value = entry.evaluate(truth, guess).value
        assert entry.evaluate(truth[::-1], guess[::-1]).value == pytest.approx(value)
        renamed = entry.evaluate([other[x] for x in truth], [other[x] for x in guess])
        assert renamed.value == pytest.approx(value)


@given(names)
def test_right_on_every_row_is_one(truth: list[str]) -> None:
    assert accuracy.evaluate(truth, truth).value == 1
    assert f1_macro.evaluate(truth, truth).value == 1


def test_the_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    rows = [np.full(n, -np.log(50), dtype=np.float32) for n in (3, 1, 0, 7)]
    found = perplexity.evaluate(rows)
    assert found.value == pytest.approx(50, rel=1e-6)
    assert found.n == 3
    assert (found.low, found.high) == pytest.approx((50, 50), rel=1e-6)


def test_perplexity_weighs_tokens_not_rows() -> None:
    rows = [np.log(np.array([0.5, 0.5, 0.5], dtype=np.float32)), np.log(np.array([0.125], dtype=np.float32))]
    assert perplexity.evaluate(rows).value == pytest.approx(2 ** (6 / 4), rel=1e-6)


def test_undefined_is_none_with_a_reason() -> None:
    for found in (accuracy.evaluate([], []), f1_macro.evaluate([], []), perplexity.evaluate([np.zeros(0, np.float32)])):
        assert found.value is None
        assert found.low is None
        assert found.reason
    impossible = perplexity.evaluate([np.array([-np.inf], dtype=np.float32)])
    assert (impossible.value, impossible.reason) == (None, "a token has probability 0")
    for difference in (accuracy_difference([], [], []), f1_macro_difference([], [], []), perplexity_difference([], [])):
        assert difference.value is None
        assert difference.reason


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidError, match=r"lengths \[2, 1\] differ"):
        accuracy.evaluate(["a", "b"], ["a"])
    with pytest.raises(InvalidError, match="differ in tokens per row"):
        perplexity_difference([np.zeros(2, np.float32)], [np.zeros(3, np.float32)])


def test_differences_are_the_difference_of_the_two_values() -> None:
    draw = np.random.default_rng(1)
    truth, old, new = (draw.choice(list("abc"), 200).tolist() for _ in range(3))
    for entry, difference in ((accuracy, accuracy_difference), (f1_macro, f1_macro_difference)):
        one, two = entry.evaluate(truth, old).value, entry.evaluate(truth, new).value
        assert one is not None
        assert two is not None
        found = difference(truth, old, new)
        assert found.value == pytest.approx(two - one)
        assert difference(truth, old, old).value == 0
        assert found.value == pytest.approx(-1 * (difference(truth, new, old).value or 0))


def test_the_paired_interval_holds_zero_when_nothing_changed_and_not_when_something_did() -> None:
    inside = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        truth = ["a"] * 150
        old, new = (["a" if hit else "b" for hit in draw.random(150) < 0.8] for _ in range(2))
        found = accuracy_difference(truth, old, new)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0 <= found.high
    assert inside >= 52  # 57 expected; 52 leaves three standard deviations
    better = accuracy_difference(["a"] * 150, ["a"] * 100 + ["b"] * 50, ["a"] * 140 + ["b"] * 10)
    assert better.low is not None
    assert better.low > 0

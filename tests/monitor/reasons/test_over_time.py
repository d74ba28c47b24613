"""Attributions over time: nDCG as scikit-learn has it, and a calibrated rule that keeps its level."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import ndcg_score

from core.errors import InvalidError
from monitor.reasons.over_time import attribution_drift, attribution_ndcg, mean_absolute, top_interactions

NAMES = ("a", "b", "c", "d")


@given(
    arrays(np.float64, 6, elements=st.floats(0, 10)),
    arrays(np.float64, 6, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])),
)
def test_ndcg_is_that_of_scikit_learn_with_ties(reference: np.ndarray, window: np.ndarray) -> None:
    found = attribution_ndcg(reference, window)
    if not reference.any():
        assert found is None
    else:
        assert found == pytest.approx(ndcg_score([reference / reference.max()], [window]))


def test_ndcg_of_the_smallest_doubles_is_that_of_their_ratios() -> None:
    assert attribution_ndcg(np.full(6, 5e-324), np.zeros(6)) == pytest.approx(1.0)


def test_ndcg_by_hand() -> None:
    # Gains 3, 2, 1; the window turns the first two round: (2 + 3/log2(3) + 1/2) / (3 + 2/log2(3) + 1/2)
    found = attribution_ndcg(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 0.5]))
    assert found == pytest.approx((2 + 3 / np.log2(3) + 0.5) / (3 + 2 / np.log2(3) + 0.5))
    assert attribution_ndcg(np.array([3.0, 2.0]), np.array([9.0, 1.0])) == 1.0


def test_the_p_value_is_that_of_all_arrangements() -> None:
    """Against complete enumeration of two sides of blocks, by plain code."""
    random = np.random.default_rng(5)
    reference, window = random.normal(size=(36, 2)), random.normal(size=(36, 2)) * 1.5
    reference_blocks, window_blocks = np.repeat(range(6), 6), np.repeat(range(3), 12)
    found = attribution_drift(
        reference, window, ("a", "b"), alpha=0.05, reference_blocks=reference_blocks.tolist(),
        window_blocks=window_blocks.tolist(),
    )  # fmt: skip
    blocks = [np.abs(window[window_blocks == i]) for i in range(3)]
    blocks += [np.abs(reference[reference_blocks == i]) for i in range(6)]
    everything = np.concatenate(blocks)
    scale = np.sqrt(sum((b.sum(axis=0) - len(b) * everything.mean(axis=0)) ** 2 for b in blocks))

    def largest(inside: tuple[int, ...]) -> float:
        here = np.concatenate([blocks[i] for i in inside])
        there = np.concatenate([blocks[i] for i in range(9) if i not in inside])
        return float((np.abs(here.mean(axis=0) - there.mean(axis=0)) / scale).max())

    ways = {tuple(sorted(way)) for way in permutations(range(9), 3)}
    exact = np.mean([largest(way) >= largest((0, 1, 2)) - 1e-12 for way in ways])
    assert found.p == pytest.approx(exact, abs=0.03)


def test_a_feature_that_counts_more_alarms_and_is_named() -> None:
    random = np.random.default_rng(1)
    reference = random.normal(size=(300, 4)) * [3, 2, 1, 0.1]
    window = random.normal(size=(200, 4)) * [3, 2, 3, 0.1]
    found = attribution_drift(reference, window, NAMES, alpha=0.001)
    assert found.alarm
    assert found.p is not None
    assert found.p <= 0.001
    assert found.features[0].feature == "c"
    assert found.features[0].adjusted_p == found.p
    assert found.features[0].window == pytest.approx(np.abs(window[:, 2]).mean())
    again = attribution_drift(reference, window, NAMES, alpha=0.001)
    assert again == found
    # The same change below the declared floor is certain, and does not alarm.
    assert not attribution_drift(reference, window, NAMES, alpha=0.001, floor=0.5).alarm


@pytest.mark.parametrize(
    ("rows", "blocks", "alpha", "why"),
    [
        (29, None, 0.01, "the window has 29 explained rows; 30 are needed"),
        (40, [0] * 40, 0.001, "too few ways"),
        (40, None, 1e-9, "needs more than"),
    ],
)
def test_what_cannot_be_judged_says_why(rows: int, blocks: list[int] | None, alpha: float, why: str) -> None:
    random = np.random.default_rng(2)
    found = attribution_drift(
        random.normal(size=(60, 4)), random.normal(size=(rows, 4)), NAMES, alpha=alpha, window_blocks=blocks,
        reference_blocks=[i // 6 for i in range(60)] if blocks else None,
    )  # fmt: skip
    assert found.p is None
    assert not found.alarm
    assert found.reason is not None
    assert why in found.reason
    assert found.ndcg is not None


def test_a_feature_that_never_counts_changes_nothing() -> None:
    random = np.random.default_rng(3)
    reference, window = random.normal(size=(60, 4)), random.normal(size=(50, 4))
    reference[:, 1] = window[:, 1] = 0.0
    found = attribution_drift(reference, window, NAMES, alpha=0.01)
    assert next(f for f in found.features if f.feature == "b").adjusted_p == 1.0
    nothing = attribution_drift(reference * 0, window * 0, NAMES, alpha=0.01)
    assert (nothing.ndcg, nothing.p, nothing.alarm) == (None, 1.0, False)


def test_bad_arrays_are_refused() -> None:
    fine = np.ones((40, 4))
    with pytest.raises(InvalidError, match="at least one row"):
        mean_absolute(np.ones((0, 4)))
    with pytest.raises(InvalidError, match="no finite number"):
        attribution_drift(fine, fine * np.nan, NAMES, alpha=0.01)
    with pytest.raises(InvalidError, match="cannot be compared"):
        attribution_drift(fine, np.ones((40, 3)), NAMES, alpha=0.01)
    with pytest.raises(InvalidError, match="39 blocks are given for 40 rows"):
        attribution_drift(fine, fine, NAMES, alpha=0.01, window_blocks=[0] * 39)
    with pytest.raises(InvalidError, match="alpha is 0"):
        attribution_drift(fine, fine, NAMES, alpha=0.0)
    with pytest.raises(InvalidError, match="interaction values have shape"):
        top_interactions(np.ones((3, 2, 3)), ("a", "b"))


def test_interactions_of_a_known_model() -> None:
    """f = x y on {-1, 1}: by the definition all of it is interaction, half on each side of the diagonal."""
    values = np.zeros((2, 3, 3))
    values[0, 0, 1] = values[0, 1, 0] = 0.5
    values[1, 0, 1] = values[1, 1, 0] = -0.5
    values[:, 2, 2] = 7.0
    (found,) = top_interactions(values, ("x", "y", "z"))
    assert (found.first, found.second, found.strength) == ("x", "y", 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("dependent", [False, True])
def test_the_calibrated_rule_keeps_its_level_where_the_ndcg_rule_has_none(dependent: bool) -> None:
    """1,000 windows without any change, rows alike within their block. The level must hold; nDCG's rate is told."""
    random, alpha, runs = np.random.default_rng(11), 0.05, 1_000
    alarms = below = 0

    def side(blocks: int) -> tuple[np.ndarray, list[int]]:
        rows = random.normal(size=(blocks * 10, 4)) * [1.0, 0.9, 0.8, 0.7]
        if dependent:
            rows *= np.repeat(np.exp(random.normal(0, 0.4, size=(blocks, 4))), 10, axis=0)
        return rows, [i // 10 for i in range(blocks * 10)]

    for run in range(runs):
        reference, reference_blocks = side(40)
        window, window_blocks = side(6)
        found = attribution_drift(
            reference, window, NAMES, alpha=alpha, floor=0.0, reference_blocks=reference_blocks,
            window_blocks=window_blocks, seed=run,
        )  # fmt: skip
        alarms += found.alarm
        below += found.ndcg is not None and found.ndcg < 0.98
    assert alarms <= runs * alpha + 3 * np.sqrt(runs * alpha * (1 - alpha))
    assert alarms >= runs * alpha / 3  # and it is no test that never rejects
    print(f"calibrated: {alarms} of {runs}; nDCG below 0.98: {below} of {runs}")

"""Stability of explanations: what moves, by how much, and what is told of it."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.errors import InvalidError
from monitor.reasons.stability import NOISE, agreement, jittered, without_least_words


def test_numbers_move_by_the_noise_of_the_reference_and_nothing_else_does() -> None:
    row = {"income": 1000.0, "children": 2, "purpose": "car", "home": True, "gap": None}
    spread = {"income": 200.0, "children": 1.0, "home": 1.0, "gap": 5.0}
    rows = jittered(row, spread, 400, seed=3)
    incomes = np.array([one["income"] for one in rows])
    assert incomes.std() == pytest.approx(NOISE * 200, rel=0.15)
    assert {one["children"] for one in rows} == {2}
    assert all((one["purpose"], one["home"], one["gap"]) == ("car", True, None) for one in rows)
    assert rows == jittered(row, spread, 400, seed=3)
    assert row["income"] == 1000.0


def test_the_words_of_the_least_weight_are_left_out() -> None:
    assert without_least_words([0.4, -0.01, 0.0, 0.3], 2) == [2, 1]
    assert without_least_words([0.4], 3) == []
    assert without_least_words([0.4, 0.1], 3) == [1]


def test_agreement_by_hand_and_by_scipy() -> None:
    own = np.array([4.0, -3.0, 2.0, 1.0])
    changed = np.array([[4.1, -3.1, 2.0, 1.0], [1.0, -3.0, 2.0, 4.0]])
    found = agreement(own, changed, answers_changed=1)
    assert found.top_kept == pytest.approx((1 + 2 / 3) / 2)
    assert found.rank_correlation == pytest.approx(spearmanr(np.abs(own), np.abs(changed[1])).statistic)
    assert found.largest_change == pytest.approx(3 / 10)
    assert (found.answers_changed, found.changed_inputs) == (1, 2)
    same = agreement(own, np.array([own]), 0)
    assert (same.top_kept, same.largest_change) == (1.0, 0.0)
    assert same.rank_correlation == pytest.approx(1.0)


def test_a_word_that_is_left_out_is_not_compared() -> None:
    found = agreement(np.array([0.5, 0.3, 0.01]), np.array([[0.5, 0.3, np.nan]]), 0, top=2)
    assert (found.top_kept, found.largest_change) == (1.0, 0.0)


def test_edges() -> None:
    flat = agreement(np.zeros(3), np.zeros((1, 3)), 0)
    assert (flat.rank_correlation, flat.largest_change, flat.top_kept) == (None, None, 1.0)
    with pytest.raises(InvalidError, match="at least one input"):
        agreement(np.zeros(3), np.zeros((0, 3)), 0)

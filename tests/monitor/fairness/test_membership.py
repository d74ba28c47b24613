"""Bounds where membership is unknown: against every assignment of the rows, by brute force and by linear programs."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from core.arrays import Floats
from core.errors import InvalidError
from monitor.fairness.membership import Kind, of_known, of_proxy, possible

KINDS: tuple[Kind, ...] = ("difference", "ratio")


def between(rates: Floats, kind: Kind) -> float:
    return float(rates.max() - rates.min() if kind == "difference" else rates.min() / rates.max())


def number(value: float | None) -> float:
    assert value is not None
    return value


@pytest.mark.parametrize("kind", ["difference", "ratio"])
def test_missing_rows_of_two_groups_are_bounded_by_the_worst_and_the_best_assignment(kind: Kind) -> None:
    found = possible(of_known([3, 5], [9, 8]).with_unknown(2, 5), kind, 5)
    seen = []
    for to_first in product((0, 1), repeat=5):
        first, answers = np.array(to_first), np.arange(5) < 2
        a = (3 + (first * answers).sum()) / (9 + first.sum())
        b = (5 + ((1 - first) * answers).sum()) / (8 + (1 - first).sum())
        seen.append(between(np.array([a, b]), kind))
    low, high = number(found.low), number(found.high)
    assert found.unknown == 5
    # An assignment in between would make the rates equal; rows are whole, so it is only nearly reached.
    far, near = (high, low) if kind == "difference" else (low, high)
    assert far == pytest.approx(max(seen) if kind == "difference" else min(seen))
    assert near == (0.0 if kind == "difference" else 1.0)
    assert number(found.low_sampled) <= low
    assert number(found.high_sampled) >= high


def test_nothing_missing_leaves_the_disparity_itself() -> None:
    hits, n = np.array([10, 20, 24]), np.array([50, 50, 60])
    for kind in KINDS:
        found = possible(of_known(hits, n), kind, 0)
        assert found.low == pytest.approx(found.high)
        assert found.low == pytest.approx(between(hits / n, kind))
        assert 0 in (found.pair or ())


def test_many_missing_rows_say_honestly_that_nothing_is_known() -> None:
    found = possible(of_known([10, 10], [20, 20]).with_unknown(500, 1000), "difference", 1000)
    assert found.low == 0.0
    assert number(found.high) > 0.95


def test_a_proxy_s_bounds_are_those_of_a_linear_program_over_every_joint_table() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        rows = rng.integers(20, 60, 3)
        hits = rng.binomial(rows, rng.random(3))
        share = rng.random(3)
        shares = np.stack([share, 1 - share], axis=1)
        found = possible(of_proxy(hits, rows - hits, rows, shares), "difference", int(rows.sum()))
        members = (rows * share).sum(), (rows * (1 - share)).sum()
        # x = hits of the first group in each kind; the rest of the hits belong to the second.
        cost = np.full(3, 1 / members[0] + 1 / members[1])
        bounds = [
            (max(0, h - n * (1 - s)), min(h, n * s)) for h, n, s in zip(hits, rows, share, strict=True)
        ]  # fmt: skip
        ends = [number(linprog(sign * cost, bounds=bounds).fun) * sign - hits.sum() / members[1] for sign in (1, -1)]
        assert found.high == pytest.approx(max(abs(end) for end in ends), abs=1e-9)
        assert found.low == pytest.approx(max(0.0, ends[0], -ends[1]), abs=1e-9)


def test_a_proxy_s_bounds_of_a_rate_of_positive_outcomes_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    kind, member = rng.integers(0, 4, 4000), rng.random(4000)
    group = (member < np.array([0.05, 0.3, 0.7, 0.95])[kind]).astype(int)
    outcome = rng.random(4000) < 0.5
    prediction = rng.random(4000) < np.where(group == 1, 0.4, 0.7)
    counted = [np.bincount(kind[kept], minlength=4) for kept in (outcome & prediction, outcome & ~prediction)]
    rows = np.bincount(kind, minlength=4)
    share = np.bincount(kind, group, minlength=4) / rows
    extremes = of_proxy(counted[0], counted[1], rows, np.stack([share, 1 - share], axis=1))
    low, high = extremes.rates
    for at, value in enumerate((1, 0)):
        truth = prediction[outcome & (group == value)].mean()
        assert low[at] <= truth <= high[at]


def test_a_proxy_that_is_never_wrong_leaves_the_disparity_itself() -> None:
    found = possible(of_proxy([10, 30], [40, 20], [50, 50], np.eye(2)), "difference", 0)
    assert [found.low, found.high] == pytest.approx([0.4, 0.4])


def test_bad_input_is_refused_or_null_with_the_reason() -> None:
    with pytest.raises(InvalidError, match="hits is 3 of 2"):
        of_known([1], [2]).with_unknown(3, 2)
    for share in ([[0.7, 0.7]], [[-0.1, 0.5]], [[np.nan, 0.5]]):
        with pytest.raises(InvalidError, match="sum of at most 1"):
            of_proxy([1], [1], [2], share)
    alone = possible(of_known([5, 0], [10, 0]), "difference", 0)
    assert (alone.low, alone.reason) == (None, "fewer than two groups have rows")
    zero = possible(of_known([0, 0], [10, 10]).with_unknown(0, 3), "ratio", 3)
    assert (zero.low, zero.reason) == (None, "no row counts, so the highest rate is 0")

"""Actionable counterfactuals, on models whose smallest change can be worked out by hand."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidError
from monitor.reasons.counterfactuals import PER_COLUMN, Direction, counterfactuals

ROW: Mapping[str, Any] = {"income": 20.0, "debt": 30.0, "purpose": "car", "age": 40}
OBSERVED: Mapping[str, Sequence[Any]] = {
    "income": [float(v) for v in range(10, 61, 2)], "debt": [float(v) for v in range(0, 41, 2)],
    "purpose": ["car", "car", "house", "house", "study", None], "age": [30, 40, 50],
}  # fmt: skip


def points(row: Mapping[str, Any]) -> float:
    """Refused above 0: every unit of income helps one, every unit of debt hurts one, a house helps 6."""
    house = 6.0 if row["purpose"] == "house" else 0.0
    return 25.0 - float(row["income"]) + float(row["debt"]) - house


def model(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    assert 0 < len(rows) <= 128
    return [points(row) for row in rows]


def test_the_cheapest_change_is_found_and_turns_the_decision() -> None:
    found = counterfactuals(ROW, {"income": "up", "debt": "down"}, OBSERVED, model)
    assert found.found
    assert found.why is None
    for one in found.found:
        assert points({**ROW, **one.changes}) <= 0
    # By hand: all pairs of observed values. 36 units are missing; income alone has 40 at most, debt alone 30.
    spread = {name: float(np.std(OBSERVED[name])) for name in ("income", "debt")}
    costs = [
        (income - 20) / spread["income"] + (30 - debt) / spread["debt"]
        + PER_COLUMN * ((income > 20) + (debt < 30))
        for income, debt in product(OBSERVED["income"], OBSERVED["debt"])
        if income >= 20 and debt <= 30 and income - debt >= 25
    ]  # fmt: skip
    best = found.found[0]
    # Not every observed value is tried, so the found change may be one step of the grid above the cheapest.
    assert min(costs) <= best.distance + PER_COLUMN * len(best.changes) <= min(costs) + 0.3


def test_directions_and_observed_values_are_kept() -> None:
    found = counterfactuals(ROW, {"income": "up", "debt": "down", "purpose": "any"}, OBSERVED, model, most=5)
    columns = [frozenset(one.changes) for one in found.found]
    assert len(set(columns)) == len(columns) >= 2
    assert not any(a < b or b < a for a, b in product(columns, columns))
    for one in found.found:
        for name, value in one.changes.items():
            assert value in OBSERVED[name]
            assert value != ROW[name]
        assert one.changes.get("income", 60.0) > 20.0
        assert one.changes.get("debt", 0.0) < 30.0
        assert points({**ROW, **one.changes}) <= 0
    wrong_way = counterfactuals(ROW, {"income": "down", "debt": "up"}, OBSERVED, model)
    assert wrong_way.found == ()
    assert wrong_way.why is not None
    assert "within the values that were observed" in wrong_way.why


def test_a_change_of_one_column_is_preferred_to_many_small_ones() -> None:
    row = {**ROW, "debt": 0.0}
    found = counterfactuals(row, {"income": "any", "purpose": "any"}, OBSERVED, model)
    assert [dict(one.changes) for one in found.found] == [{"income": 26.0}, {"purpose": "house"}]


def test_the_same_seed_gives_the_same_answers_within_the_budget() -> None:
    mutable: dict[str, Direction] = {"income": "up", "debt": "down", "purpose": "any", "age": "any"}
    first, again = (counterfactuals(ROW, mutable, OBSERVED, model, budget=300, seed=7) for _ in range(2))
    assert first == again
    assert first.evals <= 300


def test_many_columns_that_must_move_far_are_found_from_far() -> None:
    names = [f"x{i}" for i in range(8)]
    observed = {name: np.linspace(-3, 3, 61).tolist() for name in names}
    row = dict.fromkeys(names, 0.0)

    def sum_model(rows: Sequence[Mapping[str, Any]]) -> list[bool]:  # answers without a score
        return [bool(r["x0"] + r["x1"] + r["x2"] < 7.5) for r in rows]

    up: dict[str, Direction] = dict.fromkeys(names, "up")
    found = counterfactuals(row, up, observed, sum_model, budget=2_000)
    assert found.evals <= 2_000
    (one,) = found.found[:1]
    assert set(one.changes) == {"x0", "x1", "x2"}
    assert 7.5 <= sum(one.changes.values()) <= 8.3  # shrunk from 9


@pytest.mark.parametrize(
    ("row", "mutable", "observed", "why"),
    [
        (ROW, {}, OBSERVED, "declares none as mutable"),
        ({**ROW, "income": 70.0, "debt": 0.0}, {"income": "up"}, {"income": [80.0, 90.0]}, "is not adverse"),
        (ROW, {"income": "up"}, {"income": [1.0, 2.0]}, "no other value was observed"),
        (ROW, {"income": "up"}, {"income": [50.0, 50.0]}, "no other value was observed"),
        (ROW, {"income": "up"}, {"income": []}, "no other value was observed"),
        (ROW, {"age": "any"}, OBSERVED, "no change of age"),
        ({**ROW, "income": None}, {"income": "up"}, OBSERVED, "no other value was observed"),
    ],
)
def test_where_there_is_none_the_reason_is_told(
    row: dict[str, Any], mutable: dict[str, Any], observed: dict[str, Any], why: str
) -> None:
    found = counterfactuals(row, mutable, observed, model)
    assert found.found == ()
    assert found.why is not None
    assert why in found.why


def test_a_budget_that_ends_the_search_is_told() -> None:
    found = counterfactuals(ROW, {"income": "up", "debt": "down"}, OBSERVED, model, budget=10)
    assert (found.found, found.evals) == ((), 10)
    assert found.why is not None
    assert "a budget of 10 rows" in found.why


def test_wrong_arguments_are_refused_by_name() -> None:
    with pytest.raises(InvalidError, match="'purpose' is no number"):
        counterfactuals(ROW, {"purpose": "up"}, OBSERVED, model)
    with pytest.raises(InvalidError, match="'height' may change"):
        counterfactuals(ROW, {"height": "up"}, OBSERVED, model)
    with pytest.raises(InvalidError, match="gave 1 answers"):
        counterfactuals(ROW, {"income": "up", "debt": "down"}, OBSERVED, lambda _rows: [1.0])
    with pytest.raises(InvalidError, match="no number"):
        counterfactuals(ROW, {"income": "up"}, OBSERVED, lambda rows: [np.nan] * len(rows))

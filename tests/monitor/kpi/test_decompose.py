"""The split of a change over parts: exact, and zero where nothing moved."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.kpi import KPIS
from monitor.kpi.decompose import COLUMN_MEANS, decompose, row_values

rows = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(-10, 10)), min_size=1, max_size=40)


def frame(values: list[tuple[str, float]]) -> pl.DataFrame:
    return pl.DataFrame({"part": [p for p, _ in values], "value": [v for _, v in values]})


@given(rows, rows)
@settings(max_examples=80)
def test_the_parts_add_up_to_the_whole_change(before: list[tuple[str, float]], now: list[tuple[str, float]]) -> None:
    first, second = frame(before), frame(now)
    change = float(second["value"].mean()) - float(first["value"].mean())  # type: ignore[arg-type]  # numbers
    parts = decompose(first, second)
    assert sum(p.share_effect + p.rate_effect for p in parts) == pytest.approx(change, abs=1e-9)
    assert sum(p.share_now for p in parts) == pytest.approx(1.0)
    if abs(change) > 1e-6:
        assert sum(p.explained or 0.0 for p in parts) == pytest.approx(1.0)
    turned = decompose(second, first)
    assert sum(p.rate_effect for p in turned) == pytest.approx(-sum(p.rate_effect for p in parts), abs=1e-9)
    for p in decompose(first, first):
        assert (p.share_effect, p.rate_effect, p.explained) == (0.0, 0.0, None)


def test_a_worked_example() -> None:
    """Half a and half b at 0.9 and 0.5; then the same shares, b at 0.1: all of it is b's rate."""
    first = frame([("a", 0.9)] * 50 + [("b", 0.5)] * 50)
    second = frame([("a", 0.9)] * 50 + [("b", 0.1)] * 50)
    top, other = decompose(first, second)
    assert top.part == "b"
    assert (top.rate_effect, top.share_effect) == pytest.approx((-0.2, 0.0))
    assert top.explained == pytest.approx(1.0)
    assert other.explained == pytest.approx(0.0)
    moved = decompose(first, frame([("a", 0.9)] * 20 + [("b", 0.5)] * 80))
    assert all(p.rate_effect == 0.0 for p in moved)
    assert sum(p.share_effect for p in moved) == pytest.approx(-0.12)


def test_a_part_that_is_new_contributes_by_its_share_alone() -> None:
    found = {p.part: p for p in decompose(frame([("a", 1.0)] * 40), frame([("a", 1.0)] * 40 + [("n", 0.0)] * 40))}
    assert found["n"].rate_before is None
    assert found["n"].rate_effect == 0.0
    assert found["n"].standard_errors is None
    assert sum(p.share_effect for p in found.values()) == pytest.approx(-0.5)


@pytest.mark.parametrize("metric", ["accuracy", "exact_match", "mae", *COLUMN_MEANS])
def test_row_values_have_the_kpi_as_their_mean(metric: str) -> None:
    kind: object = [True, False, None, True] if KPIS[metric].column_types == ("boolean",) else [1.0, 0.0, None, 4.0]
    sides = (
        ([1.0, 2.0, 3.0, 4.0], [1.5, 2.0, None, 4.0])
        if metric == "mae"
        else (["a", "B ", None, "c"], ["a", " b", "c", None])
    )
    rows = pl.DataFrame({"part": ["x"] * 4, "prediction": sides[0], "outcome": sides[1], "column": kind}, strict=False)
    found = row_values(metric, rows)
    assert found is not None
    assert found["value"].mean() == pytest.approx(KPIS[metric].compute(rows.drop("part")).value)
    assert row_values("f1_macro", rows) is None

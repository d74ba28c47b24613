"""Protected columns that only guess at membership: bounds in place of a value, and rows of no known group."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from monitor.windows.group_counts import counted_rows, fairness_readings
from monitor.windows.readings import Reading
from tests.monitor.traffic import document

SHARES = {"north": {"a": 0.9, "b": 0.1}, "south": {"a": 0.2, "b": 0.8}}


def declared(column: dict[str, Any], by: tuple[str, ...] = ("band",), metric: str = "demographic_parity_difference",
             **limit: float) -> ModelSpec:  # fmt: skip
    columns = {name: kept for name, kept in document()["columns"].items() if name != "age_band"}
    columns |= {"band": column | {"role": "protected"}, "decision": columns["decision"] | {"positive": "yes"}}
    rule = {"metric": metric, "by": list(by)} | (limit or {"max": 0.1})
    return parse_spec(document(columns=columns, monitors=document()["monitors"] | {"fairness": [rule]}))


def judged(spec: ModelSpec, band: list[Any], decision: list[str]) -> Reading:
    rows = pl.DataFrame({"seq": range(len(band)), "band": band, "decision": decision}, strict=False)
    rows = rows.with_columns(truth=pl.lit(None, dtype=pl.String))
    (found,) = fairness_readings(spec, counted_rows(spec, rows, rows), "250 rows")
    return found


def test_a_category_that_guesses_has_no_value_and_says_between_which_bounds_it_lies() -> None:
    spec = declared({"type": "category", "proxy": {"shares": SHARES}})
    band = ["north"] * 100 + ["south"] * 100
    found = judged(spec, band, ["yes"] * 80 + ["no"] * 20 + ["yes"] * 30 + ["no"] * 70)
    assert (found.value, found.low, found.high, found.alarm) == (None, None, None, False)
    told = found.details["membership"]
    assert told["by_proxy"]
    assert f"lies between {told['low']:.3f} and {told['high']:.3f}" in str(found.reason)
    # By hand: of the 110 members of a, 90 + 20, between 70 + 0 and 80 + 20 are accepted; of b the rest of 110.
    assert told["groups"]["a"] == pytest.approx([70 / 110, 100 / 110])
    assert told["groups"]["b"] == pytest.approx([10 / 90, 40 / 90])
    assert told["low"] == pytest.approx(70 / 110 - 40 / 90)
    assert told["high"] == pytest.approx(100 / 110 - 10 / 90)
    assert told["low_sampled"] < told["low"] < told["high"] < told["high_sampled"]
    assert {g["group"]: g["n"] for g in found.details["groups"]} == {"a": 110, "b": 90}


def test_a_probability_of_each_row_is_a_proxy_for_one_group_and_the_others() -> None:
    spec = declared({"type": "number", "proxy": {"group": "female"}})
    rng = np.random.default_rng(0)
    chance = np.round(np.where(rng.random(2000) < 0.5, rng.uniform(0, 0.05, 2000), rng.uniform(0.95, 1, 2000)), 2)
    female = rng.random(2000) < chance
    yes = rng.random(2000) < np.where(female, 0.3, 0.6)
    found = judged(spec, chance.tolist(), np.where(yes, "yes", "no").tolist())
    truth = yes[~female].mean() - yes[female].mean()
    told = found.details["membership"]
    assert told["low"] <= truth <= told["high"]
    assert told["high"] - told["low"] < 0.2
    assert set(told["groups"]) == {"female", "not female"}


def test_rows_without_a_group_widen_what_the_value_may_be_and_leave_the_value() -> None:
    spec = declared({"type": "category"})
    band: list[Any] = ["a"] * 100 + ["b"] * 100 + [None] * 20
    found = judged(spec, band, ["yes"] * 50 + ["no"] * 50 + ["yes"] * 30 + ["no"] * 70 + ["yes"] * 10 + ["no"] * 10)
    assert found.value == pytest.approx(0.2)
    told = found.details["membership"]
    assert (told["by_proxy"], told["unknown"]) == (False, 20)
    assert told["low"] == pytest.approx(50 / 110 - 40 / 110)
    assert told["high"] == pytest.approx(60 / 110 - 30 / 110)
    assert all(set(g["adjusted_p"]) == {"selection_rate"} for g in found.details["groups"] if g["group"] != "(missing)")


def test_what_cannot_be_bounded_says_why() -> None:
    shares = {"type": "category", "proxy": {"shares": SHARES}}
    to_overall = judged(declared(shares, metric="mean_score_difference"), ["north", "south"] * 40, ["yes", "no"] * 40)
    assert to_overall.value is None
    never = judged(declared(shares, metric="demographic_parity_ratio", min=0.8), ["north", "south"] * 40, ["no"] * 80)
    assert "the positive class 'yes' never occurs" in str(never.reason)
    unlisted = judged(declared(shares), ["west"] * 40, ["yes", "no"] * 20)
    assert unlisted.value is None
    assert unlisted.details["membership"]["high"] in (None, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"type": "category", "proxy": {}}, "has group and shares, or neither"),
        ({"type": "category", "proxy": {"group": "a"}}, "group is for protected columns of type number"),
        ({"type": "number", "proxy": {"shares": SHARES}}, "shares are for protected columns of type category"),
        ({"type": "category", "proxy": {"shares": {"x": {"a": 0.7, "b": 0.7}}}}, "at most 1 together"),
        ({"type": "category", "proxy": {"shares": {"x": {"a": 1.0}}}}, "names fewer than two groups"),
        ({"type": "number", "edges": [1, 2], "proxy": {"group": "a"}}, "is set beside proxy"),
    ],
)
def test_a_proxy_that_does_not_fit_is_refused_with_the_fix(column: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as refused:
        declared(column)
    assert told in str(refused.value)

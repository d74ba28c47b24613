"""The positive class is the declared one, and where none is known no value is made up."""

import math
from typing import Any

import polars as pl
import pytest
import yaml

from monitor.fairness import FAIRNESS, FairnessValue
from monitor.fairness.counts import count
from monitor.fairness.grouping import MISSING, Grouping
from monitor.fairness.positive import positive_class
from monitor.levels import bool_level

KEY = "columns.decision.positive"


def approvals(a: int = 100, b: int = 200, yes: Any = "approved", no: Any = "refused") -> pl.DataFrame:
    """Of 1,000 each in A and B."""
    answers = [yes] * a + [no] * (1000 - a) + [yes] * b + [no] * (1000 - b)
    return pl.DataFrame({"group": ["A"] * 1000 + ["B"] * 1000, "prediction": answers}, strict=False)


def ratio(frame: pl.DataFrame, metric: str = "demographic_parity_ratio", **how: Any) -> FairnessValue:
    outcome = "outcome" if "outcome" in frame.columns else None
    counts = count(frame, Grouping(("group",)), prediction="prediction", outcome=outcome)
    return FAIRNESS[metric].compute(counts, ["group"], key=KEY, **how)


def test_the_ratio_is_that_of_the_declared_class_and_not_of_the_last_in_order() -> None:
    found = ratio(approvals(), positive="approved")
    assert found.value == pytest.approx(0.5)
    assert (found.positive, found.source, found.pair) == ("approved", "declared", ("A", "B"))
    assert found.definition == "smallest / largest selection rate for 'approved'"
    assert found.bounds is not None
    _, high = found.bounds(0.01)
    assert high is not None
    assert high < 0.8  # so it alarms at the four-fifths line
    assumed = ratio(approvals(), assume=True)
    assert assumed.value == pytest.approx(8 / 9)
    assert (assumed.positive, assumed.source) == ("refused", "assumed")
    assert "class assumed" in assumed.definition


def test_two_named_classes_without_a_declared_one_have_no_value_and_the_reason_names_key_and_both() -> None:
    found = ratio(approvals())
    assert (found.value, found.bounds, found.positive) == (None, None, None)
    assert found.reason is not None
    assert all(word in found.reason for word in ("'approved'", "'refused'", KEY))
    assert [g.n for g in found.groups] == [1000, 1000]


def test_a_class_that_yaml_reads_as_a_truth_value_is_the_one_that_was_written() -> None:
    for written, other in (("yes", "no"), ("Off", "On")):
        declared = bool_level(yaml.safe_load(written))  # as a spec keeps `positive: yes`
        found = ratio(approvals(yes=written, no=other), positive=declared)
        assert found.value == pytest.approx(0.5)
        assert (found.positive, found.source) == (written, "declared")
    both = ratio(approvals(yes="yes", no="on"), positive="true")
    assert both.reason is not None
    assert "the positive class 'true' never occurs" in both.reason


@pytest.mark.parametrize(
    ("yes", "no", "positive", "level"),
    [
        (True, False, None, "true"), (1, 0, None, "1"), ("1", "0", None, "1"), (1.0, 0.0, None, "1"),
        ("True", "False", None, "true"), (True, False, "True", "true"), (True, False, "1", "true"),
        (1, 0, "1.0", "1"), (1, 0, "true", "1"), (False, True, "False", "false"), ("0", "1", "0", "0"),
    ],
)  # fmt: skip
def test_spellings_and_types_of_one_class_are_one_class(yes: Any, no: Any, positive: str | None, level: str) -> None:
    found = ratio(approvals(yes=yes, no=no), positive=positive)
    assert found.value == pytest.approx(0.5)
    assert found.positive == level


def test_a_positive_class_that_never_occurs_is_said_and_the_one_that_was_meant_is_named() -> None:
    found = ratio(approvals(), positive="Approved ")
    assert found.value is None
    assert found.reason == (
        "the positive class 'Approved ' never occurs; classes: 'approved', 'refused'; did you mean 'approved' in "
        "columns.decision.positive?"
    )
    nobody = ratio(approvals(0, 0), positive="approved")
    assert nobody.value is None
    assert "never occurs; classes: 'refused'" in str(nobody.reason)


def test_one_class_only_and_no_labels_yet_are_null_with_a_reason() -> None:
    assert "only the class 'refused' occurs" in str(ratio(approvals(0, 0)).reason)
    all_approved = ratio(approvals(1000, 1000), positive="approved")
    assert all_approved.value == 1.0
    waiting = approvals().with_columns(outcome=pl.lit(None, dtype=pl.String))
    found = ratio(waiting, "equalized_odds_difference", positive="approved")
    assert (found.value, found.reason) == (None, "no outcome is known yet for any row")
    one = approvals().with_columns(outcome=pl.lit("refused"))
    found = ratio(one, "equalized_odds_difference", positive="approved")
    assert found.value is None
    assert "undefined for A, B: no row with the outcome 'approved'" in str(found.reason)


def test_many_classes_go_on_one_against_the_rest_and_the_worst_is_named() -> None:
    answers = ["a", "b", "c", "c"] * 50 + ["a", "a", "b", "c"] * 50
    frame = pl.DataFrame({"group": ["x"] * 200 + ["y"] * 200, "prediction": answers})
    found = ratio(frame, "demographic_parity_difference")
    assert (found.positive, found.source) == ("a", "each class")
    assert dict(found.classes) == pytest.approx({"a": 0.25, "c": 0.25, "b": 0.0})
    assert ratio(frame, "demographic_parity_difference", positive="b").value == 0.0


def test_small_groups_are_shown_with_n_and_interval_and_the_compared_ones_are_named() -> None:
    frame = pl.DataFrame({"group": ["s"] * 18 + ["l"] * 32, "prediction": ["1", "0"] * 25})
    found = ratio(frame)
    assert found.value is None
    shown = {
        g.group: (g.n, g.too_small, g.rates["selection_rate"], g.intervals["selection_rate"]) for g in found.groups
    }
    assert shown["s"][:3] == (18, True, 0.5)
    assert shown["l"][:3] == (32, False, 0.5)
    low, high = shown["s"][3]
    assert low == pytest.approx(0.290, abs=1e-3)
    assert high == pytest.approx(0.710, abs=1e-3)
    both = ratio(frame, min_group=10)
    assert both.value == 1.0
    assert both.low is not None
    assert both.low < 0.6  # as uncertain as such groups are


def test_rows_without_a_group_are_a_group_of_their_own_and_never_dropped() -> None:
    zones = [1.0] * 100 + [2.0] * 100 + [math.nan] * 40 + [None] * 20
    frame = pl.DataFrame({"group": zones, "prediction": ["1", "0"] * 130})
    found = ratio(frame)
    assert {g.group: g.n for g in found.groups} == {"1": 100, "2": 100, MISSING: 60}
    assert found.n == 260
    assert found.pair is not None
    assert MISSING not in found.pair


@pytest.mark.parametrize("compare", ["overall", "reference", "best"])
def test_a_rate_of_0_to_divide_by_gives_no_factor(compare: Any) -> None:
    nobody = ratio(
        approvals(0, 0), positive="refused", metric="false_discovery_rate_ratio", compare=compare, reference="A"
    )
    assert nobody.value is None
    never = approvals(0, 200)
    found = ratio(never, positive="approved", compare=compare, reference="A")
    if compare == "reference":
        assert (found.value, found.reason) == (
            None, "the selection rate of 'A' is 0, and nothing can be divided by it"
        )  # fmt: skip
    else:
        assert found.value == 0.0
    away = ratio(never, positive="approved", compare="reference", reference="Z")
    assert (away.value, away.reason) == (None, "the reference group 'Z' does not occur (A: 1000, B: 1000)")


def test_a_class_is_read_as_the_spec_and_the_rows_write_it() -> None:
    assert positive_class("1", {"true", "false"}, key=KEY, truth=True).level == "true"
    assert positive_class(None, {"false"}, key=KEY, truth=True).reason is not None
    assert positive_class(None, (), key=KEY).level is None

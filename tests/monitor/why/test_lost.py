"""What lost cases have in common: told only where it holds on rows the tree did not see, in words a person reads."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import InsufficientDataError
from monitor.spec.monitors import FairnessRule
from monitor.spec.parse import parse_spec
from monitor.why.columns import Kind
from monitor.why.cuts import cuts_of, usual_number
from monitor.why.losses import of_fairness, of_kpi
from monitor.why.lost import LostFinding, find_lost
from monitor.why.wording import lost_sentence

KINDS: dict[str, Kind] = {"channel": "category", "amount": "number", "text": "text", "shop": "category"}


def cases(count: int, seed: int, *, hit: float) -> pl.DataFrame:
    """Lost with a chance of `hit` from the web above 1,000, and of 8 % elsewhere."""
    rng = np.random.default_rng(seed)
    channel, amount = rng.choice(["web", "app", "phone"], count), rng.gamma(2, 600, count)
    chance = np.where((channel == "web") & (amount > 1000), hit, 0.08)
    return pl.DataFrame({
        "channel": channel, "amount": amount, "lost": rng.random(count) < chance,
        "text": rng.choice(["block my card", "which rate applies", "top up missing"], count),
        "shop": rng.choice(["a", "b"], count),
    })  # fmt: skip


REFERENCE = cases(3000, 0, hit=0.1)


def test_a_common_trait_is_told_with_its_share_its_interval_and_what_it_is_elsewhere() -> None:
    found = find_lost(REFERENCE, cases(1600, 1, hit=0.5), KINDS)
    (leaf, *_) = found.leaves
    assert sorted(leaf.conditions)[0].startswith("amount > 1")
    assert sorted(leaf.conditions)[1] == "channel = 'web'"
    assert leaf.low < leaf.share < leaf.high
    assert leaf.share - leaf.elsewhere > leaf.difference_low > 0.1
    assert leaf.reference == pytest.approx(0.1, abs=0.06)
    said = lost_sentence(found, "wrong")
    assert said.startswith("Most often wrong: ")
    assert "channel = 'web'" in said
    assert "against" in said
    assert "elsewhere" in said


def test_nothing_is_claimed_without_a_trait_or_with_few_rows_or_one_class() -> None:
    quiet = find_lost(REFERENCE, cases(1600, 2, hit=0.08), KINDS)
    assert quiet.leaves == ()
    assert lost_sentence(quiet, "wrong") == (
        "Nothing tells the lost cases (wrong) from others: no common trait of the lost cases held on the other half of "
        "the rows."
    )
    few = find_lost(REFERENCE, cases(40, 3, hit=0.5), KINDS)
    assert few.reason == "40 rows are too few to say (60 are needed)"
    all_lost = find_lost(REFERENCE, cases(400, 4, hit=0.5).with_columns(lost=pl.lit(value=True)), KINDS)
    assert all_lost.reason == "0 cases that are not lost are too few to compare"
    assert find_lost(REFERENCE, cases(400, 4, hit=0.5), {}).reason == "no column says anything about the cases"


@pytest.mark.slow
def test_without_a_trait_one_is_told_as_rarely_as_is_said() -> None:
    named = sum(bool(find_lost(REFERENCE, cases(600, 50 + i, hit=0.08), KINDS).leaves) for i in range(100))
    assert named <= 11  # 5 % are allowed; more than eleven of a hundred would be seen less than once in a hundred


def spec(task: str, kpi: dict[str, Any], **columns: dict[str, str]) -> Any:
    kind = {"classification": "category", "regression": "number"}[task]
    return parse_spec({
        "model": "m", "task": task, "owner": "o", "purpose": "p", "baseline": {"rows": "first 1000"},
        "columns": {
            "x": {"role": "input", "type": "number"}, "answer": {"role": "prediction", "type": kind},
            "truth": {"role": "outcome", "type": kind}, "age": {"role": "protected", "type": "category"}, **columns,
        },
        "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01}, "kpi": [kpi]},
    })  # fmt: skip


def test_each_kind_of_kpi_has_its_lost_rows_and_limits_come_from_the_reference() -> None:
    ref = pl.DataFrame(
        {"answer": [float(i) for i in range(100)], "truth": [0.0] * 100, "ms": [float(i) for i in range(100)]}
    )
    regression = spec("regression", {"metric": "mae", "max": 1}, ms={"role": "measure", "type": "number"})
    rule = regression.monitors.kpi[0]
    window = ref.with_columns(answer=pl.col("answer") * 2)
    lost = of_kpi(regression, rule, window, ref, (window, ref))
    assert lost.words == "off by more than 90"
    assert int(lost.window["lost"].sum()) == 54
    slow = spec(
        "regression", {"metric": "latency_p95", "column": "ms", "max": 1}, ms={"role": "measure", "type": "number"}
    )
    lost = of_kpi(slow, slow.monitors.kpi[0], window, ref, (window, ref))
    assert (lost.words, lost.column) == ("ms above 90", "ms")
    classes = spec("classification", {"metric": "accuracy", "min": 0.9})
    rows = pl.DataFrame({"answer": ["yes", None, "no"], "truth": ["yes", "no", None]})
    answered = of_kpi(classes, classes.monitors.kpi[0], rows, rows, (rows, rows))
    assert answered.window["lost"].to_list() == [False, True]  # no answer is a wrong one, and no outcome is neither


def test_the_harmed_group_is_that_with_the_larger_share_whatever_the_metric_compares() -> None:
    classes = spec("classification", {"metric": "accuracy", "min": 0.9})
    rows = pl.DataFrame({
        "age": ["old"] * 100 + ["young"] * 100 + [None] * 50, "truth": ["yes", "no"] * 125,
        "answer": ["yes", "no"] * 50 + ["no", "no"] * 50 + ["no", "no"] * 25,
    })  # fmt: skip
    for metric, words in (
        ("demographic_parity_difference", "not answered 'yes'"), ("impact_ratio", "not answered 'yes'"),
        ("equalized_odds_difference", "missed though 'yes'"), ("true_positive_rate_ratio", "missed though 'yes'"),
        ("false_omission_rate_difference", "missed though 'yes'"), ("accuracy_score_difference", "wrong"),
    ):  # fmt: skip
        rule = FairnessRule(metric=metric, by=("age",))
        found = of_fairness(classes, rule, ["age"], {"positive": "yes"}, rows, rows, (rows, rows))
        assert found.words == words
        assert found.among.startswith("among age = 'young' (")
    for metric, positive, reason in (
        ("base_rate_difference", "yes", "base_rate_difference says nothing about single answers"),
        ("equal_opportunity_difference", None, "no class counts as positive, so no case is lost or not"),
    ):
        rule = FairnessRule(metric=metric, by=("age",))
        with pytest.raises(InsufficientDataError, match=reason):
            of_fairness(classes, rule, ["age"], {"positive": positive}, rows, rows, (rows, rows))


def test_an_intersection_is_a_group_and_a_score_below_the_usual_is_lost() -> None:
    scored = spec("classification", {"metric": "accuracy", "min": 0.9}, sure={"role": "score", "type": "number"})
    rows = pl.DataFrame({
        "age": ["old", "young"] * 100, "sex": ["f"] * 100 + ["m"] * 100, "answer": ["yes"] * 200,
        "sure": [0.9 if i % 2 or i < 100 else 0.1 for i in range(200)],
    })  # fmt: skip
    rule = FairnessRule(metric="mean_score_difference", by=("age", "sex"), depth=2)
    found = of_fairness(scored, rule, ["age", "sex"], {}, rows, rows, (rows, rows))
    assert found.words == "sure below 0.9"
    assert found.among == "among age = 'old' and sex = 'm' (100 % of 50 rows, 0 % of all others)"


def found_again() -> LostFinding:
    return find_lost(REFERENCE, cases(1600, 1, hit=0.5), KINDS)


def test_the_same_rows_give_the_same_answer() -> None:
    assert found_again() == found_again()


def test_another_sample_of_the_same_traffic_is_told_by_the_same_cut_points() -> None:
    draw = np.random.default_rng(5)
    samples = [draw.lognormal(6.0, 1.0, 4_000) for _ in range(6)]
    points = [cuts_of(sample).points for sample in samples]
    same = sum(p == points[0][at] for found in points[1:] for at, p in enumerate(found))
    assert same >= 0.8 * 5 * len(points[0])
    assert all(len(name.replace(",", "")) < 20 for name in cuts_of(samples[0]).names)
    assert {usual_number(sample, 0.9) for sample in samples} == {usual_number(samples[0], 0.9)}

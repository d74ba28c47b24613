"""Fairness metrics against published COMPAS counts, fairlearn and arithmetic by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fairlearn import metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn import metrics as metrics_of

from core.errors import InvalidError
from monitor.fairness import FAIRNESS, FairnessValue
from monitor.fairness.comparisons import DISPARITIES, compared
from monitor.fairness.counts import GroupCounts, count
from monitor.fairness.grouping import Grouping
from monitor.fairness.rates import OF_CLASSES

SHARES = {
    "positive_predictive_value": metrics_of.precision_score, "accuracy": metrics_of.accuracy_score,
    "base_rate": lambda outcome, _: outcome.mean(),
    "negative_predictive_value": lambda outcome, answer: metrics_of.precision_score(1 - outcome, 1 - answer),
    "false_discovery_rate": lambda outcome, answer: 1 - metrics_of.precision_score(outcome, answer),
    "false_omission_rate": lambda outcome, answer: 1 - metrics_of.precision_score(1 - outcome, 1 - answer),
}  # fmt: skip
CLASSES = [name for name, metric in FAIRNESS.items() if metric.task == "classification" and "score" not in metric.needs]
FIRST = ["demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference"]
binary = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 1), st.integers(0, 1)), max_size=60).map(
    lambda rows: [*rows, *((g, o, p) for g in "abc" for o in (0, 1) for p in (0, 1))]  # every rate is defined
)


def counted(frame: pl.DataFrame, by: str = "group") -> GroupCounts:
    return count(
        frame, Grouping((by,)), prediction="prediction", outcome="outcome" if "outcome" in frame.columns else None
    )


def value(name: str, frame: pl.DataFrame, by: str, **how: Any) -> FairnessValue:
    return FAIRNESS[name].compute(counted(frame, by), (by,), **{"assume": True, **how})


@pytest.mark.parametrize("rate", OF_CLASSES, ids=lambda rate: rate.name)
@given(binary)
@settings(max_examples=10)
def test_a_rate_of_counts_is_the_library_s_rate_of_rows(rate: Any, rows: list[tuple[str, int, int]]) -> None:
    group, outcome, prediction = (np.array(side) for side in zip(*rows, strict=True))
    frame = pl.DataFrame({"group": group, "outcome": outcome, "prediction": prediction})
    library = SHARES.get(rate.name) or getattr(metrics, rate.name)
    expected = [library(outcome[group == g], prediction[group == g]) for g in "abc"]
    assert rate.read(counted(frame).cells(["group"], "1")).value.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["between", "overall"])
@pytest.mark.parametrize("name", [name for name in CLASSES if hasattr(metrics, name)])
@given(binary)
@settings(max_examples=8, deadline=None)
def test_a_metric_of_two_classes_equals_the_library_s(name: str, method: Any, rows: list[tuple[str, int, int]]) -> None:
    group, outcome, prediction = (np.array(side) for side in zip(*rows, strict=True))
    frame = pl.DataFrame({"group": group, "outcome": outcome, "prediction": prediction})
    called = "to_overall" if method == "overall" else "between_groups"
    expected = getattr(metrics, name)(outcome, prediction, sensitive_features=group, method=called)
    found = value(name, frame, "group", min_group=1, compare=method)
    assert found.value == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert found.second_opinion is not None
    assert found.second_opinion() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", DISPARITIES)
@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6))
def test_a_disparity_is_that_of_the_most_unequal_pair_of_groups(name: str, rates: list[float]) -> None:
    disparity = DISPARITIES[name]  # type: ignore[index]  # parametrised over its keys
    pairs = [compared(np.array([a, b]), disparity, "between").value for a in rates for b in rates]
    assert compared(np.array(rates), disparity, "between").value == pytest.approx(pairs[disparity.worst(pairs)])


@pytest.fixture(scope="module")
def compas(shared_data: Path) -> pl.DataFrame:
    rows = pl.read_parquet(shared_data / "compas_two_years.parquet")
    return rows.select(
        (pl.col("decile_score") >= 5).cast(pl.Int64).alias("prediction"),
        pl.col("two_year_recid").alias("outcome"),
        "race",
    ).filter(pl.col("race").is_in(["African-American", "Caucasian"]))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("demographic_parity_difference", 0.2402),
        ("demographic_parity_ratio", 0.5916),
        ("equalized_odds_difference", 0.2139),
    ],
)
def test_compas_has_the_published_unfairness(compas: pl.DataFrame, name: str, published: float) -> None:
    result = value(name, compas, "race")
    assert result.value == pytest.approx(published, abs=5e-5)
    assert result.low is not None
    assert result.high is not None
    assert result.low < published < result.high
    assert result.positive == "1"
    assert {g.group: g.n for g in result.groups} == {"African-American": 3696, "Caucasian": 2454}


def test_compas_rates_are_those_propublica_counted(compas: pl.DataFrame) -> None:
    groups = {g.group: g.rates for g in value("equalized_odds_difference", compas, "race").groups}
    assert groups["African-American"]["false_positive_rate"] == pytest.approx(805 / (990 + 805))
    assert groups["African-American"]["true_positive_rate"] == pytest.approx(1369 / (532 + 1369))
    assert groups["Caucasian"]["false_positive_rate"] == pytest.approx(349 / (1139 + 349))
    assert groups["Caucasian"]["true_positive_rate"] == pytest.approx(505 / (461 + 505))


def answers(rows: int = 400, seed: int = 0, classes: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    outcome = rng.integers(0, classes, rows)
    return pl.DataFrame(
        {
            "outcome": [f"q{c}" for c in outcome],
            "prediction": [f"q{c}" for c in np.where(rng.random(rows) < 0.7, outcome, rng.integers(0, classes, rows))],
            "age": rng.choice(["young", "old"], rows),
        }
    )


def test_with_many_classes_the_worst_class_is_named_and_counted_against_the_rest() -> None:
    rows = answers(seed=3)
    result = value("demographic_parity_difference", rows, "age")
    by_hand = {}
    for queue in ("q0", "q1", "q2"):
        rates = rows.group_by("age").agg((pl.col("prediction") == queue).mean().alias("rate"))["rate"].to_list()
        by_hand[queue] = max(rates) - min(rates)
    assert result.value == pytest.approx(max(by_hand.values()))
    assert result.positive == max(by_hand, key=lambda q: by_hand[q])
    assert "worst" in result.definition


def test_with_many_classes_equalized_odds_is_the_gap_in_accuracy_and_says_so() -> None:
    rows = answers(seed=4)
    result = value("equalized_odds_difference", rows, "age")
    accuracy = rows.group_by("age").agg((pl.col("prediction") == pl.col("outcome")).mean().alias("a"))["a"].to_list()
    assert result.value == pytest.approx(max(accuracy) - min(accuracy))
    assert "accuracy" in result.definition
    assert result.positive is None


@pytest.mark.parametrize("name", FIRST)
def test_small_and_missing_groups_are_shown_with_their_size_but_not_compared(name: str) -> None:
    rows = answers(300, classes=2)
    few = rows.head(5).with_columns(pl.lit("rare").alias("age"))
    unknown = rows.head(80).with_columns(pl.lit(None, dtype=pl.String).alias("age"))
    alone = value(name, rows, "age")
    result = value(name, pl.concat([rows, few, unknown]), "age")
    assert result.value == pytest.approx(alone.value)
    assert {g.group: g.n for g in result.groups if g.too_small} == {"rare": 5, "(missing)": 80}


@pytest.mark.parametrize("name", FIRST)
def test_one_group_alone_is_undefined_with_the_sizes_in_the_reason(name: str) -> None:
    rows = answers().with_columns(pl.lit("young").alias("age"))
    result = value(name, rows, "age")
    assert result.value is None
    assert result.reason is not None
    assert "young: 400" in result.reason


@pytest.mark.parametrize("name", FIRST)
def test_no_rows_are_undefined_and_an_absent_column_is_refused(name: str) -> None:
    assert value(name, answers().head(0), "age").value is None
    with pytest.raises(InvalidError, match="'gender'"):
        value(name, answers(), "gender")


def test_a_group_without_a_positive_outcome_leaves_equalized_odds_undefined() -> None:
    rows = pl.DataFrame(
        {"outcome": ["1", "0"] * 50 + ["0"] * 100, "prediction": ["1"] * 200, "age": ["a"] * 100 + ["b"] * 100}
    )
    result = value("equalized_odds_difference", rows, "age")
    assert result.value is None
    assert result.reason is not None
    assert "'1'" in result.reason


@pytest.mark.parametrize("name", FIRST)
def test_the_names_of_groups_and_the_order_of_rows_do_not_matter(name: str) -> None:
    rows = answers(seed=5)
    renamed = rows.with_columns(pl.col("age").replace({"young": "z", "old": "k"}))
    expected = value(name, rows, "age").value
    assert value(name, renamed, "age").value == expected
    assert value(name, rows.sample(fraction=1.0, shuffle=True, seed=1), "age").value == expected


@pytest.mark.parametrize("name", FIRST)
def test_equal_groups_are_fair(name: str) -> None:
    rows = answers(classes=2)
    both = pl.concat([rows.with_columns(pl.lit(g).alias("age")) for g in ("a", "b")])
    assert value(name, both, "age").value == pytest.approx(1.0 if name.endswith("ratio") else 0.0)


@pytest.mark.parametrize(
    ("name", "rates", "sizes"),
    [
        ("demographic_parity_difference", (0.3, 0.35, 0.4, 0.32, 0.38), (30, 30, 50, 30, 100)),
        ("demographic_parity_difference", (0.02, 0.12), (60, 300)),
        ("demographic_parity_ratio", (0.32, 0.4), (100, 100)),
    ],
)
def test_a_disparity_at_its_limit_is_said_to_be_beyond_it_at_most_at_the_stated_rate(
    name: str, rates: tuple[float, ...], sizes: tuple[int, ...]
) -> None:
    """The largest of many differences is large by chance: a bootstrap of it excludes the truth far too often."""
    random, windows, alpha = np.random.default_rng(2), 150, 0.01
    groups, chance = np.repeat([f"g{i}" for i in range(len(sizes))], sizes), np.repeat(rates, sizes)
    truth = min(rates) / max(rates) if name.endswith("ratio") else max(rates) - min(rates)
    crossed = 0
    for _ in range(windows):
        frame = pl.DataFrame({"by": groups, "prediction": (random.random(len(groups)) < chance).astype(str)})
        found = value(name, frame, "by")
        assert found.bounds is not None
        low, high = found.bounds(alpha)
        assert low is not None
        assert high is not None
        crossed += high < truth if name.endswith("ratio") else low > truth
    assert crossed <= binom.ppf(0.999, windows, alpha)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("right", [True, False])
def test_no_end_leaves_the_range_where_every_row_is_alike(name: str, right: bool) -> None:
    truth = ["yes", "no"] * 60
    frame = pl.DataFrame({
        "prediction": truth if right else truth[1:] + truth[:1], "outcome": truth, "group": ["a"] * 60 + ["b"] * 60,
    })  # fmt: skip
    found = value(name, frame, "group", min_group=30)
    ends = [found.value, found.low, found.high, *(found.bounds(1e-4) if found.bounds is not None else ())]
    assert all(end is None or 0.0 <= end <= 1.0 for end in ends), ends


def test_false_negatives_for_each_false_positive_have_no_end_at_1() -> None:
    rows = [("a", 1, 0)] * 300 + [("a", 0, 1)] * 60 + [("b", 1, 0)] * 60 + [("b", 0, 1)] * 60
    frame = pl.DataFrame(rows, schema=["group", "right", "said"], orient="row")
    found = FAIRNESS["treatment_equality_difference"].compute(
        count(frame, Grouping(("group",)), prediction="said", outcome="right"), ["group"]
    )
    assert found.value == pytest.approx(4.0)
    assert found.high is not None
    assert found.high > 4.0
    assert found.bounds is not None
    low, _ = found.bounds(0.001)
    assert low is not None
    assert low > 1.2  # a limit of 1.2 can be exceeded

"""Counted figures of public data: every cell that ProPublica published, fairlearn's disparities, label rates."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fairlearn import metrics

from monitor.fairness import FAIRNESS
from monitor.fairness.counts import GroupCounts, count
from monitor.fairness.grouping import Grouping
from monitor.fairness.rates import (
    DISCOVERY,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    NEGATIVE_VALUE,
    OMISSION,
    PRECISION,
    SELECTION,
)

# group: n, TN, FP, FN, TP, FPR, FNR, PPV, NPV, flagged (per cent; values as shares)
PUBLISHED = {
    "overall": (7214, 2681, 1282, 1216, 2035, 32.35, 37.40, 0.61, 0.69, 45.98),
    "African-American": (3696, 990, 805, 532, 1369, 44.85, 27.99, 0.63, 0.65, 58.82),
    "Caucasian": (2454, 1139, 349, 461, 505, 23.45, 47.72, 0.59, 0.71, 34.80),
}
PAIR = ("African-American", "Caucasian")


def read(folder: Path, name: str) -> pl.DataFrame:
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in the folder of shared data")
    return pl.read_parquet(folder / name)


@pytest.fixture(scope="module")
def compas(shared_data: Path) -> pl.DataFrame:
    rows = read(shared_data, "compas_two_years.parquet")
    return rows.with_columns(high=pl.col("score_text").is_in(["Medium", "High"]).cast(pl.Int64))


def counted(rows: pl.DataFrame, said: str = "high") -> GroupCounts:
    return count(rows, Grouping(("race", "sex", "age_cat")), prediction=said, outcome="two_year_recid")


@pytest.mark.parametrize("group", PUBLISHED)
def test_every_cell_of_propublica_s_table(compas: pl.DataFrame, group: str) -> None:
    cells = counted(compas).cells(["race"], "1")
    cells = cells.overall if group == "overall" else cells.take([cells.names.index(group)])
    n, negative, false_alarm, missed, positive, fpr, fnr, ppv, npv, flagged = PUBLISHED[group]
    assert cells.n.tolist() == [n]
    assert cells.counts[0, :2].tolist() == [[negative, false_alarm], [missed, positive]]
    for rate, published, factor in (
        (FALSE_POSITIVE, fpr, 100), (FALSE_NEGATIVE, fnr, 100), (PRECISION, ppv, 1), (NEGATIVE_VALUE, npv, 1),
        (SELECTION, flagged, 100),
    ):  # fmt: skip
        found = rate.read(cells)
        assert round(found.value[0] * factor, 2) == published, rate.name
        low, high = found.interval()
        assert low[0] < found.value[0] < high[0]


def test_the_derived_figures_of_two_groups(compas: pl.DataFrame) -> None:
    two = counted(compas.filter(pl.col("race").is_in(PAIR)))

    def of(metric: str, **how: Any) -> float:
        found = FAIRNESS[metric].compute(two, ["race"], **how)
        assert found.value is not None
        assert found.pair is not None
        assert set(found.pair) == set(PAIR)
        return found.value

    assert 1 / of("false_positive_rate_ratio") == pytest.approx(1.912, abs=5e-4)
    assert of("false_positive_rate_difference") == pytest.approx(0.2139, abs=5e-5)
    assert of("false_negative_rate_ratio") == pytest.approx(0.586, abs=5e-4)
    assert of("false_negative_rate_difference") == pytest.approx(0.1974, abs=5e-5)
    assert of("impact_ratio", positive="0") == pytest.approx(0.632, abs=5e-4)  # of the favourable answer
    assert of("adverse_impact_ratio", compare="reference", reference="Caucasian") == pytest.approx(1.690, abs=5e-4)
    cells = two.cells(["race"], "1")
    assert OMISSION.read(cells).value.tolist() == pytest.approx([0.350, 0.288], abs=5e-4)
    assert DISCOVERY.read(cells).value.tolist() == pytest.approx([0.370, 0.409], abs=5e-4)


@pytest.mark.parametrize("method", ["between", "overall"])
@pytest.mark.parametrize("name", [name for name in FAIRNESS if hasattr(metrics, name)])
def test_every_disparity_of_compas_is_fairlearn_s(compas: pl.DataFrame, name: str, method: Any) -> None:
    called = "to_overall" if method == "overall" else "between_groups"
    expected = getattr(metrics, name)(
        compas["two_year_recid"].to_numpy(), compas["high"].to_numpy(),
        sensitive_features=compas["race"].to_numpy(), method=called,
    )  # fmt: skip
    found = FAIRNESS[name].compute(counted(compas), ["race"], min_group=1, compare=method)
    assert found.value == pytest.approx(expected, abs=1e-9)


def test_the_group_of_11_rows_is_shown_and_not_compared(compas: pl.DataFrame) -> None:
    kept = compas.filter(
        (pl.col("days_b_screening_arrest").abs() <= 30) & (pl.col("is_recid") != -1)
        & (pl.col("c_charge_degree") != "O") & (pl.col("score_text") != "N/A")
    )  # fmt: skip
    assert kept.height == 6172
    found = FAIRNESS["false_positive_rate_difference"].compute(counted(kept), ["race"])
    smallest = min(found.groups, key=lambda g: g.n)
    assert (smallest.group, smallest.n, smallest.too_small) == ("Native American", 11, True)
    assert smallest.rates["false_positive_rate"] is not None
    low, high = smallest.intervals["false_positive_rate"]
    assert low is not None
    assert high is not None
    assert high - low > 0.4
    rates = {g.group: g.rates["false_positive_rate"] for g in found.groups}
    assert rates["African-American"] == pytest.approx(0.4234, abs=5e-5)
    assert rates["Caucasian"] == pytest.approx(0.2201, abs=5e-5)


def test_german_and_taiwan_label_rates(shared_data: Path) -> None:
    german = read(shared_data, "german_credit.parquet").with_columns(
        sex=pl.when(pl.col("personal_status") == "A92").then(pl.lit("women")).otherwise(pl.lit("men")),
    )
    counts = count(german, Grouping(("sex", "age"), {"age": (25.5,)}), prediction="credit")

    def parity(found: GroupCounts, metric: str, by: str, positive: str) -> tuple[float | None, dict[str, int]]:
        one = FAIRNESS[metric].compute(found, [by], positive=positive)
        return one.value, {g.group: g.n for g in one.groups}

    difference, sizes = parity(counts, "demographic_parity_difference", "sex", "1")
    assert difference == pytest.approx(0.0748, abs=5e-5)
    assert sizes == {"men": 690, "women": 310}
    difference, sizes = parity(counts, "demographic_parity_difference", "age", "1")
    assert difference == pytest.approx(0.1494, abs=5e-5)
    assert sizes == {"25.5 and over": 810, "under 25.5": 190}
    assert parity(counts, "demographic_parity_ratio", "age", "1")[0] == pytest.approx(0.7948, abs=5e-5)
    taiwan = read(shared_data, "credit_default_taiwan.parquet")
    counts = count(taiwan, Grouping(("SEX",)), prediction="default payment")
    difference, sizes = parity(counts, "demographic_parity_difference", "SEX", "1")
    assert difference == pytest.approx(0.0339, abs=5e-5)
    assert sizes == {"1": 11_888, "2": 18_112}
    assert SELECTION.read(counts.cells(["SEX"], "1").overall).value[0] == pytest.approx(0.2212, abs=5e-5)

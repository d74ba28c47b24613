"""Parts of a disparity against published tables, statsmodels and arithmetic; and what they say."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable  # type: ignore[import-untyped]  # no stubs

from monitor.fairness.causes.conditional import held_fixed
from monitor.fairness.causes.decompose import by_factor, together
from monitor.fairness.causes.factors import OTHER, factor, product, words
from monitor.fairness.causes.find import GapQuestion, disparity_causes, worst_pair
from monitor.fairness.causes.groups import TwoGroups
from monitor.fairness.causes.wording import sentences
from monitor.fairness.grouping import MISSING

# Bickel, Hammel and O'Connell (1975): admitted and refused, men and women, of the six largest departments of Berkeley.
BERKELEY = {
    "A": ((512, 313), (89, 19)), "B": ((353, 207), (17, 8)), "C": ((120, 205), (202, 391)),
    "D": ((138, 279), (131, 244)), "E": ((53, 138), (94, 299)), "F": ((22, 351), (24, 317)),
}  # fmt: skip
# Charig et al. (1986): cured and not, by open surgery and by percutaneous nephrolithotomy, of small and large stones.
STONES = {"small": ((81, 6), (234, 36)), "large": ((192, 71), (55, 25))}


def frame_of(table: dict[str, tuple[tuple[int, int], tuple[int, int]]], names: tuple[str, str]) -> pl.DataFrame:
    rows = [
        (name, answer, stratum)
        for stratum, sides in table.items()
        for name, counts in zip(names, sides, strict=True)
        for answer, count in zip(("yes", "no"), counts, strict=True)
        for _ in range(count)
    ]
    return pl.DataFrame(rows, schema=["group", "prediction", "stratum"], orient="row")


def two(frame: pl.DataFrame, first: str, second: str) -> TwoGroups:
    hit = (frame["prediction"] == "yes").to_numpy().astype(np.float64)
    return TwoGroups(first, second, hit, (frame["group"] == second).to_numpy())


def test_berkeley_s_disparity_is_composition_and_turns_with_the_department_held_fixed() -> None:
    frame = frame_of(BERKELEY, ("men", "women"))
    rows, dept = two(frame, "men", "women"), factor(frame["stratum"])
    assert rows.disparity == pytest.approx(557 / 1835 - 1198 / 2691)
    parts = by_factor(rows, dept)
    assert parts.composition.value is not None
    assert parts.rate.value is not None
    assert parts.composition.value + parts.rate.value == pytest.approx(rows.disparity, abs=1e-15)
    assert parts.composition.value < -0.15  # women applied where few are admitted
    assert parts.rate.value > 0
    held = held_fixed(rows, [dept], min_group=30)
    tables = [np.array([sides[1], sides[0]]) for sides in BERKELEY.values()]
    assert held.p == pytest.approx(StratifiedTable(tables).test_null_odds().pvalue, rel=1e-10)
    assert (held.turn, held.compared, held.thin) == ("reversed", 6, 1)  # 25 women applied to B
    asked = GapQuestion("selection_rate", "yes", "men", "women", ("stratum",))
    found = disparity_causes(frame, frame["group"], {"stratum": "category"}, asked)
    assert not isinstance(found, str)
    said = sentences(found)
    assert any(s.startswith("Simpson's reversal: over all rows women has -14.2 points against men") for s in said)


def test_a_reversal_that_every_stratum_shows_is_told_though_few_rows_leave_it_open() -> None:
    frame = frame_of(STONES, ("open", "pnl"))
    rows = two(frame, "open", "pnl")
    held = held_fixed(rows, [factor(frame["stratum"])], min_group=30)
    weights = {s: sum(a) * sum(b) / (sum(a) + sum(b)) for s, (a, b) in STONES.items()}
    gaps = {s: b[0] / sum(b) - a[0] / sum(a) for s, (a, b) in STONES.items()}
    by_hand = sum(weights[s] * gaps[s] for s in STONES) / sum(weights.values())
    assert held.adjusted.value == pytest.approx(by_hand)
    assert (held.turn, held.adjusted.clear) == ("reversed", False)


def test_a_difference_that_chance_makes_turns_nothing() -> None:
    random = np.random.default_rng(5)
    rows = TwoGroups("a", "b", random.integers(0, 2, 400).astype(np.float64), random.random(400) < 0.5)
    told = [held_fixed(rows, [factor(pl.Series("x", random.integers(0, 3, 400)))], min_group=30).turn for _ in range(5)]
    assert told == [None] * 5


cells = st.lists(
    st.tuples(st.integers(0, 1), st.floats(-5, 5), st.sampled_from("xyz"), st.one_of(st.none(), st.floats(-9, 9))),
    min_size=2, max_size=60,
).filter(lambda rows: len({r[0] for r in rows}) == 2)  # fmt: skip


@given(cells)
@settings(max_examples=60, deadline=None)
def test_parts_add_up_to_the_disparity_whatever_the_rows(rows: list[tuple[int, float, str, float | None]]) -> None:
    side, value, kind, number = (list(part) for part in zip(*rows, strict=True))
    both = TwoGroups("a", "b", np.array(value), np.array(side, dtype=np.bool_))
    factors = [factor(pl.Series("kind", kind)), factor(pl.Series("number", number, dtype=pl.Float64))]
    for one in factors:
        parts = by_factor(both, one)
        assert (parts.composition.value or 0) + (parts.rate.value or 0) == pytest.approx(both.disparity, abs=1e-9)
        each = sum(level.composition + level.rate for level in parts.levels)
        assert each == pytest.approx(both.disparity, abs=1e-9)
    found = together(both, factors)
    total = sum(p.value or 0 for p in found.parts) + (found.unexplained.value or 0)
    assert total == pytest.approx(both.disparity, abs=1e-9)
    assert all(p.low is not None and p.high is not None and p.low <= p.high for p in found.parts)


def test_a_column_that_carries_nothing_has_no_part_and_the_one_that_does_has_it_all() -> None:
    random = np.random.default_rng(1)
    later = random.random(20_000) < 0.4
    income = np.where(later, random.normal(0, 1, 20_000), random.normal(1, 1, 20_000))
    noise = random.choice(["p", "q"], 20_000)
    value = (random.random(20_000) < 1 / (1 + np.exp(-income))).astype(np.float64)
    rows = TwoGroups("a", "b", value, later)
    found = together(rows, [factor(pl.Series("income", income), bins=20), factor(pl.Series("noise", noise))])
    assert found.parts[0].value == pytest.approx(rows.disparity, abs=0.02)
    assert not found.parts[1].clear
    assert not found.unexplained.clear


@pytest.mark.slow
def test_intervals_of_the_parts_hold_what_they_promise() -> None:
    random = np.random.default_rng(0)

    def drawn(n: int) -> tuple[TwoGroups, list[pl.Series]]:
        later = random.random(n) < 0.4
        c = np.where(later, random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]), random.choice(4, n, p=[0.1, 0.2, 0.3, 0.4]))
        u = random.normal(size=n) + later * 0.5
        value = (random.random(n) < 0.2 + 0.1 * c + 0.05 * (u > 0) + 0.05 * later).astype(np.float64)
        return TwoGroups("a", "b", value, later), [pl.Series("c", c.astype(str)), pl.Series("u", (u > 0).astype(str))]

    large, columns = drawn(1_000_000)
    true = by_factor(large, factor(columns[0])), held_fixed(large, [factor(columns[0])], min_group=1)
    hits = np.zeros(3)
    for _ in range(500):
        rows, columns = drawn(800)
        parts, held = by_factor(rows, factor(columns[0])), held_fixed(rows, [factor(columns[0])], min_group=1)
        pairs = [
            (parts.composition, true[0].composition),
            (parts.rate, true[0].rate),
            (held.adjusted, true[1].adjusted),
        ]
        hits += [p.low <= t.value <= p.high for p, t in pairs]  # type: ignore[operator]
    assert (hits / 500 > 0.92).all(), hits / 500


def test_levels_are_few_and_name_nobody() -> None:
    assert factor(pl.Series("x", [1.0, 2.0, None, float("nan")])).levels == ("1", "2", MISSING)
    ends = factor(pl.Series("x", [*range(100), float("inf")], dtype=pl.Float64, strict=False))
    assert len(ends.levels) == 5
    assert ends.levels[0] == "up to 20"
    rare = factor(pl.Series("x", ["a"] * 9 + ["b"] * 5 + ["Ann", "Bea"]))
    assert rare.levels == ("a", "b", OTHER)
    assert factor(pl.Series("x", [True] * 5 + [False] * 5)).levels == ("false", "true")
    assert words(pl.Series("t", ["a b", "a b c", None])).levels == ("2", "3", MISSING)
    assert product([rare, factor(pl.Series("y", [1, 1, 1, 1] * 4))]).levels[0] == "x a, y 1"


def test_a_cell_of_few_rows_shows_no_mean_of_its_own() -> None:
    frame = frame_of({"s": ((3, 1), (20, 20)), "t": ((20, 5), (9, 30))}, ("a", "b"))
    held = held_fixed(two(frame, "a", "b"), [factor(frame["stratum"])], min_group=10)
    by_name = {s.level: s for s in held.strata}
    assert (by_name["s"].means, by_name["s"].thin, by_name["t"].thin) == ((None, 0.5), True, False)


def test_an_interval_of_a_difference_of_shares_is_newcombe_s_and_stays_within_its_bounds() -> None:
    value = np.array([1.0] * 56 + [0.0] * 14 + [1.0] * 48 + [0.0] * 32)  # Newcombe (1998), table II, example (a)
    found = TwoGroups("a", "b", value, np.arange(150) < 70).crude
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    one = TwoGroups("a", "b", np.array([1.0] * 20 + [0.0] * 31), np.arange(51) == 50)
    parts = by_factor(one, factor(pl.Series("x", np.arange(51) % 3)))
    for part in (one.crude, parts.composition, parts.rate):
        assert -1 <= (part.low or 0) <= (part.value or 0) <= (part.high or 0) <= 1


def test_columns_that_part_the_groups_leave_nothing_to_compare() -> None:
    frame = frame_of({"s": ((9, 1), (0, 0)), "t": ((0, 0), (9, 30))}, ("a", "b"))
    held = held_fixed(two(frame, "a", "b"), [factor(frame["stratum"])], min_group=5)
    assert (held.adjusted.value, held.p, held.turn, held.alone) == (None, None, None, 1.0)
    assert held.adjusted.reason == "no level of these columns has rows of both groups"


def test_compas_is_partly_priors_and_age(shared_data: Path) -> None:
    frame = pl.read_parquet(shared_data / "compas_two_years.parquet").with_columns(
        prediction=pl.col("decile_score") >= 5, outcome=pl.col("two_year_recid") == 1
    )
    asked = GapQuestion("false_positive_rate", "true", "Caucasian", "African-American", ("priors_count", "age"))
    found = disparity_causes(frame, frame["race"], {"age": "number", "priors_count": "number"}, asked)
    assert not isinstance(found, str)
    assert found.means == pytest.approx((0.2345, 0.4485), abs=5e-5)  # ProPublica's table
    assert found.declared is not None
    assert found.declared.adjusted.clear
    assert 0.08 < (found.declared.adjusted.value or 0) < 0.15


def test_the_pair_behind_a_metric_is_that_of_the_worst_rate() -> None:
    groups = [
        {"group": "a", "n": 90, "rates": {"true_positive_rate": 0.9, "false_positive_rate": 0.2}, "too_small": False},
        {"group": "b", "n": 90, "rates": {"true_positive_rate": 0.8, "false_positive_rate": 0.6}, "too_small": False},
        {"group": "c", "n": 9, "rates": {"true_positive_rate": 0.0}, "too_small": True},
        {"group": MISSING, "n": 90, "rates": {"true_positive_rate": 0.0}, "too_small": False},
    ]  # fmt: skip
    assert worst_pair(groups) == ("false_positive_rate", "a", "b")
    assert worst_pair(groups[:1]) == "fewer than two groups are large enough to be compared"

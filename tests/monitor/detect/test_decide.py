"""The decision rule: budget, power, verdicts and words."""

import math
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.detect.decide import DriftDecision, decide
from monitor.detect.wording import describe
from monitor.profile.block import BlockProfile, equal_blocks, profile_block, profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind
from monitor.quality import volume

MIXED: dict[str, ColumnKind] = {"x": "number", "few": "number", "c": "category", "id": "category"}


def steady(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Independent rows: a heavy-tailed number, a discrete one with nulls, a skewed category and an identifier."""
    return pl.DataFrame(
        {
            "x": rng.lognormal(size=rows),
            "few": pl.Series(rng.poisson(1.0, rows)).cast(pl.Float64).set(pl.Series(rng.random(rows) < 0.05), None),
            "c": np.array(["a", "b", "c", "d", "e"])[np.minimum(rng.geometric(0.4, rows) - 1, 4)],
            "id": rng.integers(0, 10**9, rows).astype(str),
        }
    )


def bursts(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Users who send ten rows each, all alike; blocks hold whole users."""
    users = rows // 10
    x = np.repeat(rng.normal(size=users), 10) + 0.3 * rng.normal(size=rows)
    return pl.DataFrame({"x": x, "c": np.repeat(rng.choice(["a", "b", "c"], users, p=[0.6, 0.3, 0.1]), 10)})


def one_window(
    draw: Callable[[np.random.Generator, int], pl.DataFrame],
    columns: dict[str, ColumnKind],
    seed: int,
    *,
    alpha: float,
    reference: int = 1200,
    window: int = 400,
    block: int = 50,
) -> DriftDecision:
    rng = np.random.default_rng(seed)
    profile = fit_reference(draw(rng, reference), columns, blocks=reference // block)
    blocks = profile_blocks(draw(rng, window), profile, equal_blocks(window, block))
    return decide(profile, blocks, alpha=alpha, seed=seed, permutations=299)


def most(alpha: float, trials: int) -> float:
    return alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


@pytest.mark.parametrize(
    ("draw", "columns"),
    [(steady, MIXED), (bursts, {"x": "number", "c": "category"})],
    ids=["independent rows", "users in bursts"],
)
def test_without_drift_alarms_stay_within_the_budget(
    draw: Callable[[np.random.Generator, int], pl.DataFrame], columns: dict[str, ColumnKind]
) -> None:
    alpha, trials = 0.05, 300
    decisions = [one_window(draw, columns, seed, alpha=alpha) for seed in range(trials)]
    share = np.mean([d.p is not None and d.p <= alpha for d in decisions])
    assert share <= most(alpha, trials)
    assert np.mean([d.alarmed for d in decisions]) <= share


@pytest.mark.slow
def test_without_drift_the_window_of_one_block_stays_within_the_budget() -> None:
    alpha, trials = 0.05, 300
    decisions = [
        one_window(steady, MIXED, seed, alpha=alpha, reference=3000, window=100, block=100) for seed in range(trials)
    ]
    assert {d.draws for d in decisions} == {31}
    assert np.mean([d.p is not None and d.p <= alpha for d in decisions]) <= most(alpha, trials)


SHIFTS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "x": lambda f: f.with_columns(pl.col("x") * 1.5),
    "few": lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("few")).alias("few")
    ),
    "c": lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("new")).otherwise(pl.col("c")).alias("c")
    ),
}


@pytest.mark.parametrize("column", SHIFTS)
def test_a_planted_shift_is_found_and_its_column_named(column: str) -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        profile = fit_reference(steady(rng, 3000), MIXED, blocks=30)
        window = SHIFTS[column](steady(rng, 1000))
        decision = decide(profile, profile_blocks(window, profile, equal_blocks(1000, 100)), alpha=0.01, seed=seed)
        named = {f.column for f in decision.columns if f.alarmed}
        found += decision.alarmed and column in named
        assert column in describe(decision) or not decision.alarmed
    assert found >= 19


# --- verdicts and properties ----------------------------------------------------------------------------------------

NUMBERS: dict[str, ColumnKind] = {"x": "number"}


def normal(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    return pl.DataFrame({"x": np.random.default_rng(seed).normal(shift, 1.0, rows)})


PROFILE = fit_reference(normal(3000, 0), NUMBERS, blocks=30)


def blocks_of(frame: pl.DataFrame, rows: int = 100) -> tuple[BlockProfile, ...]:
    return profile_blocks(frame, PROFILE, equal_blocks(frame.height, rows))


def test_a_table_in_which_nothing_varies_has_p_one() -> None:
    columns: dict[str, ColumnKind] = {f"k{i}": "number" if i % 2 else "category" for i in range(8)}
    frame = pl.DataFrame({name: [1.0 if kind == "number" else "a"] * 1200 for name, kind in columns.items()})
    profile = fit_reference(frame, columns, blocks=12)
    for window, rows in ((5, 100), (1, 100)):
        blocks = profile_blocks(frame.head(window * rows), profile, equal_blocks(window * rows, rows))
        decision = decide(profile, blocks, alpha=0.1)
        assert (decision.verdict, decision.p) == ("no_evidence", 1.0)


def test_a_departure_from_a_constant_is_found() -> None:
    frame = pl.DataFrame({"x": [3.0] * 1500})
    profile = fit_reference(frame, NUMBERS, blocks=30)
    for value in (2.9, 3.1):
        window = pl.DataFrame({"x": [3.0, 3.0, 3.0, 3.0, value] * 100})
        assert decide(profile, profile_blocks(window, profile, equal_blocks(500, 50)), alpha=0.01).alarmed


def test_the_same_seed_gives_the_same_decision() -> None:
    window = blocks_of(normal(700, 5, 0.1))
    assert decide(PROFILE, window, alpha=0.01, seed=3) == decide(PROFILE, window, alpha=0.01, seed=3)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_where_all_choices_are_ranked_neither_seed_nor_order_of_blocks_matters(seed: int) -> None:
    window = blocks_of(normal(200, seed))
    forward = decide(PROFILE, window, alpha=0.01, seed=seed)
    backward = decide(PROFILE, window[::-1], alpha=0.01, seed=seed + 1)
    assert forward.draws == math.comb(32, 2)
    assert forward.p == backward.p
    assert forward.p is not None
    assert 1 / forward.draws <= forward.p <= 1.0


def test_p_values_fall_as_the_shift_grows() -> None:
    ps = [decide(PROFILE, blocks_of(normal(700, 5, shift)), alpha=0.01).p for shift in (0.0, 0.1, 0.3)]
    assert ps[2] is not None
    assert ps[2] <= 0.002
    assert ps[0] is not None
    assert ps[0] > ps[2]


def test_with_one_block_and_too_few_of_reference_the_answer_says_how_many_are_missing() -> None:
    decision = decide(PROFILE, blocks_of(normal(100, 1)), alpha=0.01)
    assert decision.verdict == "reference_too_short"
    assert decision.p is None
    assert "69 more reference blocks" in decision.reason
    assert decide(PROFILE, blocks_of(normal(100, 1)), alpha=1 / 31).verdict != "reference_too_short"


def test_an_empty_window_is_not_enough_data() -> None:
    decision = decide(PROFILE, [profile_block(normal(0, 0), PROFILE)], alpha=0.05)
    assert decision.verdict == "not_enough_data"
    assert describe(decision) == "Not judged: the window has no rows."


def test_a_change_the_window_could_not_have_shown_is_not_called_no_evidence() -> None:
    window = blocks_of(normal(300, 4))
    seen = decide(PROFILE, window, alpha=0.01)
    assert seen.verdict == "no_evidence"
    (visible,) = seen.visible
    assert 0.1 < visible.change < 0.5
    assert decide(PROFILE, window, alpha=0.01, min_detectable={"x": 0.9}).verdict == "no_evidence"
    short = decide(PROFILE, window, alpha=0.01, min_detectable={"x": 0.05})
    assert short.verdict == "not_enough_data"
    assert "x" in short.reason


def test_the_visible_change_is_seen_at_least_half_of_the_time_and_a_quarter_of_it_is_not() -> None:
    change = decide(PROFILE, blocks_of(normal(700, 4)), alpha=0.05).visible[0].change

    def found(shift: float) -> float:
        windows = [blocks_of(normal(700, 50 + seed, shift)) for seed in range(40)]
        return float(np.mean([decide(PROFILE, window, alpha=0.05, permutations=299).alarmed for window in windows]))

    assert found(change) >= 0.5
    assert found(change / 4) < 0.5


def test_a_change_below_its_floor_is_named_but_does_not_alarm() -> None:
    window = blocks_of(normal(1500, 6, 0.3))
    assert decide(PROFILE, window, alpha=0.01).verdict == "drift"
    decision = decide(PROFILE, window, alpha=0.01, min_effects={"x": 1.0})
    assert decision.verdict == "changed_below_floor"
    assert not any(f.alarmed for f in decision.columns)
    assert "below your floors" in describe(decision)


def test_small_changes_of_other_columns_count_once_the_largest_change_is_above_its_floor() -> None:
    columns: dict[str, ColumnKind] = {f"x{i}": "number" for i in range(12)}
    loud = below = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        profile = fit_reference(pl.DataFrame({n: rng.normal(size=3000) for n in columns}), columns, blocks=30)
        window = pl.DataFrame({n: rng.normal(0.17 if n == "x0" else 0.1, 1.0, 1000) for n in columns})
        blocks = profile_blocks(window, profile, equal_blocks(1000, 100))
        min_effects = {n: 0.6 for n in columns if n != "x0"}
        found = decide(profile, blocks, alpha=0.01, min_effects=min_effects, seed=seed)
        assert found.p is not None
        assert not found.alarmed or found.p <= 0.01
        loud += found.alarmed
        below += decide(profile, blocks, alpha=0.01, min_effects=dict.fromkeys(columns, 0.6), seed=seed).alarmed
    assert below == 0
    assert loud >= 5


def test_a_change_of_volume_is_not_judged_as_drift() -> None:
    window = profile_blocks(normal(5 * 500, 6, 1.0), PROFILE, equal_blocks(2500, 500))
    usual = dict.fromkeys(range(56), 100)
    decision = decide(PROFILE, window, alpha=0.01, volume=volume(usual, dict.fromkeys(range(56, 61), 500), 86_400))
    assert (decision.verdict, decision.p) == ("volume_changed", None)
    assert not any(f.alarmed for f in decision.columns)
    assert decide(PROFILE, window, alpha=0.01).verdict == "drift"


def test_too_many_rows_without_a_certain_change_of_volume_are_not_judged_and_say_why() -> None:
    window = profile_blocks(normal(5 * 500, 6, 1.0), PROFILE, equal_blocks(2500, 500))
    few = volume(dict.fromkeys(range(4), 100), dict.fromkeys(range(4, 9), 500), 86_400)
    decision = decide(PROFILE, window, alpha=0.01, volume=few)
    assert (decision.verdict, decision.p) == ("not_enough_data", None)
    assert "5 times the expected rows" in decision.reason
    assert "more than phases are needed" in decision.reason


def test_rows_that_the_reference_itself_has_at_times_are_judged_as_usual() -> None:
    window = blocks_of(normal(700, 6, 1.0))
    unsteady = {day: (20, 400)[day % 2] for day in range(56)}
    found = volume(unsteady, dict.fromkeys(range(56, 57), 450), 86_400)
    assert found.outside
    assert decide(PROFILE, window, alpha=0.01, volume=found).verdict == "drift"


def test_the_effect_is_given_in_the_columns_own_unit() -> None:
    decision = decide(PROFILE, blocks_of(normal(700, 5, 0.5)), alpha=0.01)
    (finding,) = decision.columns
    assert finding.column == "x"
    assert finding.alarmed
    if finding.effect == "mean":
        assert finding.value == pytest.approx(0.5, abs=0.1)
    assert describe(decision).startswith("Drift: `x`: ")


def test_a_number_with_few_values_is_watched_for_missing_values_only() -> None:
    sparse = pl.DataFrame({"x": [1.0] * 150 + [None] * 1350}).sample(fraction=1.0, shuffle=True, seed=1)
    profile = fit_reference(sparse, NUMBERS, blocks=30)
    window = pl.DataFrame({"x": [5.0] * 50 + [None] * 450}).sample(fraction=1.0, shuffle=True, seed=2)
    decision = decide(profile, profile_blocks(window, profile, equal_blocks(500, 50)), alpha=0.01)
    assert decision.verdict == "no_evidence"
    assert decision.columns[0].effect == "missing"


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_false_alarm_rate_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidError, match="alpha"):
        decide(PROFILE, blocks_of(normal(500, 1)), alpha=alpha)


@pytest.mark.parametrize("min_effects", [{"y": 0.1}, {"x": -1.0}, {"x": math.nan}])
def test_a_floor_that_makes_no_sense_is_refused(min_effects: dict[str, float]) -> None:
    with pytest.raises(InvalidError, match="floors"):
        decide(PROFILE, blocks_of(normal(500, 1)), alpha=0.01, min_effects=min_effects)


def test_fifty_columns_with_seven_of_sixty_three_blocks_are_judged_without_a_long_wait() -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, ColumnKind] = {f"x{i}": "number" for i in range(50)}
    frame = pl.DataFrame({name: rng.normal(size=5600) for name in columns})
    profile = fit_reference(frame, columns, blocks=56)
    window = profile_blocks(frame.head(700), profile, equal_blocks(700, 100))
    decide(profile, window, alpha=0.01)
    start = time.process_time()
    decide(profile, window, alpha=0.01)
    assert time.process_time() - start < 5.0  # about 0.15 s of CPU; what else the machine does must not decide


def many_levels(rng: np.random.Generator, rows: int, levels: int) -> pl.DataFrame:
    return pl.DataFrame({"c": (rng.zipf(1.2, rows) % levels).astype(str)})


@pytest.mark.parametrize("levels", [400, 5000])
def test_a_new_level_among_thousands_is_found_and_named(levels: int) -> None:
    columns: dict[str, ColumnKind] = {"c": "category"}
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        profile = fit_reference(many_levels(rng, 6000, levels), columns, blocks=60)
        window = many_levels(rng, 700, levels).with_columns(
            pl.when(pl.int_range(700) % 20 == 0).then(pl.lit("brand new")).otherwise("c").alias("c")
        )
        decision = decide(
            profile, profile_blocks(window, profile, equal_blocks(700, 100)), alpha=0.01, permutations=299
        )
        found += decision.alarmed and decision.columns[0].detail == "brand new"
    assert found >= 11


@pytest.mark.parametrize(
    "levels",
    [lambda rng, rows: rng.integers(0, 400, rows), lambda rng, rows: rng.integers(0, 10**9, rows)],
    ids=["400 equal levels", "identifiers"],
)
def test_levels_without_drift_stay_within_the_budget_with_lists_of_the_reference(
    levels: Callable[[np.random.Generator, int], np.ndarray],
) -> None:
    alpha, trials = 0.05, 150
    columns: dict[str, ColumnKind] = {"c": "category"}
    alarms = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        profile = fit_reference(pl.DataFrame({"c": levels(rng, 3000).astype(str)}), columns, blocks=30)
        window = pl.DataFrame({"c": levels(rng, 500).astype(str)})
        p = decide(profile, profile_blocks(window, profile, equal_blocks(500, 100)), alpha=alpha, permutations=199).p
        alarms += p is not None and p <= alpha
    assert alarms / trials <= most(alpha, trials)

"""Which blocks a reference is judged by: serial dependence, quarters, weeks, seasons, and what is refused."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from core.arrays import Floats
from monitor.detect.arrangement import BlockPlan, WindowLayout, arrange, missing_blocks, plan_blocks
from monitor.detect.decide import DriftDecision, decide
from monitor.detect.dependence import variance_ratio
from monitor.detect.permutation import Blocks, count_permutations, draw_permutations, p_values
from monitor.detect.studentised import studentise
from monitor.detect.wording import describe
from monitor.profile.block import equal_blocks, profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality import volume

QUARTER_S = 21_600
MONDAY = 4 * 19_002  # label of the first quarter of 10 January 2022, counted from the epoch, a Thursday
DAY_WINDOW, WEEK_WINDOW = WindowLayout(4, "day", QUARTER_S), WindowLayout(28, "day", QUARTER_S)


def daily(days: int, effects: Floats, seed: int, rows: int = 80) -> pl.DataFrame:
    """Rows of equal quarters; `effects`, shape (days,), moves the mean of x. y is independent noise."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(4 * days), rows // 4)
    return pl.DataFrame(
        {"x": rng.normal(size=len(label)) + effects[label // 4], "y": rng.normal(size=len(label)), "label": label}
    )


def fitted(frame: pl.DataFrame, first: int = MONDAY) -> ReferenceProfile:
    labels = frame["label"].to_numpy() + first
    return fit_reference(frame.drop("label"), {"x": "number", "y": "number"}, blocks=labels, parts=4)


def judged(profile: ReferenceProfile, window: pl.DataFrame, plan: BlockPlan, alpha: float, first: int) -> DriftDecision:
    blocks = profile_blocks(window.drop("label"), profile, window["label"].to_numpy())
    return decide(profile, blocks, alpha=alpha, plan=plan, first=first, permutations=299)


def autocorrelated(days: int, seed: int, correlation: float = 0.95) -> Floats:
    rng = np.random.default_rng(seed)
    found = np.zeros(days)
    for day in range(1, days):
        found[day] = correlation * found[day - 1] + rng.normal(0, 0.5)
    return found


def test_independent_blocks_are_refused_at_the_level_of_the_test_and_dependent_ones_nearly_always() -> None:
    def refused(effects: list[Floats]) -> float:
        rng = np.random.default_rng(0)
        found = 0
        for seed, effect in enumerate(effects):
            sums = np.column_stack([effect * 50, rng.normal(size=len(effect))]) + rng.normal(size=(len(effect), 2))
            result = variance_ratio(
                sums, np.full(len(effect), 50.0), np.zeros(len(effect), int), np.array([0, 1]), 7, seed
            )
            found += not result.exchangeable
        return found / len(effects)

    rng = np.random.default_rng(1)
    quiet = refused([rng.normal(size=60) for _ in range(150)])
    assert quiet <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / 150)
    assert refused([autocorrelated(60, seed) for seed in range(40)]) >= 0.95


def test_independent_days_are_divided_into_quarters_for_a_window_of_one_day() -> None:
    accepted = 0
    for seed in range(20):
        plan = plan_blocks(fitted(daily(40, np.zeros(40), seed)), DAY_WINDOW, 1 / 60)
        assert plan.problem is None
        accepted += plan.quarters
    assert accepted >= 14  # the variance ratio refuses a tenth, quarters another tenth


def test_an_effect_of_the_day_refuses_quarters_and_leaves_days() -> None:
    rng = np.random.default_rng(5)
    plans = [plan_blocks(fitted(daily(40, rng.normal(0, 0.5, 40), seed)), DAY_WINDOW, 1 / 30) for seed in range(10)]
    assert not any(plan.quarters for plan in plans)
    assert sum(plan.problem is None and not plan.refused for plan in plans) >= 7


def test_quarters_answer_below_one_over_the_number_of_days() -> None:
    profile = fitted(daily(40, np.zeros(40), 3))
    plan = plan_blocks(profile, DAY_WINDOW, 1 / 100)
    assert plan.quarters
    quiet = judged(profile, daily(1, np.zeros(1), 50), plan, 1 / 100, MONDAY + 400)
    assert quiet.verdict == "no_evidence"
    moved = judged(profile, daily(1, np.ones(1), 51), plan, 1 / 100, MONDAY + 400)
    assert moved.verdict == "drift"
    assert (moved.window_blocks, moved.block) == (4, "quarter of day")
    # Without quarters 41 days cannot support one false alarm in a hundred.
    days = judged(
        profile, daily(1, np.ones(1), 51), BlockPlan(profiles_per_test_block=4, parts=4), 1 / 100, MONDAY + 400
    )
    assert days.verdict == "reference_too_short"


def test_a_serially_dependent_column_is_judged_by_weeks_where_there_are_enough_and_else_left_out() -> None:
    long = plan_blocks(fitted(daily(7 * 20, autocorrelated(140, 1), 1)), WEEK_WINDOW, 1 / 10)
    assert (long.profiles_per_test_block, long.problem, dict(long.refused)) == (28, None, {})
    short = plan_blocks(fitted(daily(7 * 9, autocorrelated(63, 1), 3)), WEEK_WINDOW, 1 / 30)
    assert set(short.refused) == {"x"}
    assert short.p_dependence is not None
    assert short.p_dependence <= 0.1
    one_day = plan_blocks(fitted(daily(7 * 9, autocorrelated(63, 1), 3)), DAY_WINDOW, 1 / 60)
    assert set(one_day.refused) == {"x"}


def test_a_decision_names_the_columns_it_does_not_judge() -> None:
    profile = fitted(daily(63, autocorrelated(63, 1), 3))
    plan = plan_blocks(profile, DAY_WINDOW, 1 / 60)
    decision = judged(profile, daily(1, np.full(1, 9.0), 2), plan, 1 / 60, MONDAY + 400)
    assert decision.unjudged == ("x",)
    assert {f.column for f in decision.columns} == {"y"}
    assert "Not judged" in describe(decision)
    assert decision.p_growth == plan.p_dependence


def test_where_every_column_is_serially_dependent_the_reference_is_too_short_and_says_by_how_much() -> None:
    frame = daily(63, autocorrelated(63, 1), 3).with_columns(pl.col("x").alias("y"))
    profile = fitted(frame)
    plan = plan_blocks(profile, WEEK_WINDOW, 1 / 30)
    assert plan.problem is not None
    assert "20 more windows" in plan.problem
    decision = judged(profile, daily(7, np.zeros(7), 2), plan, 1 / 30, MONDAY + 400)
    assert decision.verdict == "reference_too_short"


def test_a_week_is_not_judged_by_days_of_a_reference_under_eight_weeks_unless_the_risk_is_accepted() -> None:
    profile = fitted(daily(35, np.zeros(35), 4))
    refused = plan_blocks(profile, WEEK_WINDOW, 1 / 30)
    assert refused.problem == "the reference has 35 blocks of one day; windows of 7 blocks need 21 more"
    accepted = plan_blocks(profile, WindowLayout(28, "day", QUARTER_S, short_reference=True), 1 / 30)
    assert accepted.problem is None


def test_only_complete_weeks_of_the_reference_are_blocks() -> None:
    plan = BlockPlan(profiles_per_test_block=28, parts=4)
    labels = np.arange(MONDAY + 2, MONDAY + 2 + 28 * 3)  # begins and ends in mid-day
    window = np.arange(MONDAY + 400, MONDAY + 428)
    arranged = arrange(plan, labels, np.ones(len(labels)), window, np.ones(28))
    assert arranged.blocks.rows.tolist() == [28.0, 28.0, 28.0]
    assert arranged.blocks.window.tolist() == [False, False, True]
    assert arranged.block_of[:2].tolist() == [-1, -1]


def test_with_a_season_a_block_changes_places_within_its_phase_only() -> None:
    plan = BlockPlan(profiles_per_test_block=1, season="weekday_weekend", block_s=86_400, within_phases=True)
    labels = np.arange(18_997, 18_997 + 56)
    arranged = arrange(plan, labels, np.ones(56), np.arange(19_200, 19_207), np.ones(7))
    weekend = [(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(d))).weekday() >= 5 for d in labels]
    assert arranged.blocks.phases[:56].tolist() == [int(w) for w in weekend]
    choices = draw_permutations(arranged.blocks, 200, 0)
    assert set(choices[:, arranged.blocks.phases == 1].sum(axis=1).tolist()) == {2.0}
    assert set(choices.sum(axis=1).tolist()) == {7.0}


def test_a_weekly_mix_with_its_season_declared_stays_within_the_budget_on_every_day() -> None:
    alarms, trials, alpha = 0, 0, 1 / 30
    for seed in range(12):
        rng = np.random.default_rng(seed)
        level = np.where((np.arange(4 * 84) // 4 + 3 + MONDAY // 4) % 7 >= 5, 0.8, 0.0)
        label = np.repeat(np.arange(4 * 84), 15)
        frame = pl.DataFrame({"x": rng.normal(size=len(label)) + level[label], "y": rng.normal(size=len(label))})
        frame = frame.with_columns(pl.Series("label", label))
        profile = fitted(frame.filter(pl.col("label") < 4 * 63))
        scale = WindowLayout(4, "day", QUARTER_S, season="weekday_weekend")
        plan = plan_blocks(profile, scale, alpha)
        assert not plan.quarters
        for day in range(63, 84):
            window = frame.filter(pl.col("label") // 4 == day).with_columns(pl.col("label") - 4 * day)
            alarms += judged(profile, window, plan, alpha, MONDAY + 4 * day).alarmed
            trials += 1
    assert alarms / trials <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)


def test_choices_of_each_phase_are_counted_together() -> None:
    blocks = Blocks(np.ones(8), np.array([False] * 6 + [True] * 2), np.array([0, 1] * 4), within_phases=True)
    assert count_permutations(blocks.strata) == 16
    choices = draw_permutations(blocks, 50, 0)
    assert len(choices) == 16
    assert len({tuple(c) for c in choices.tolist()}) == 16
    assert choices[0].tolist() == blocks.window.astype(float).tolist()


@pytest.mark.parametrize("factor", [5.0, 0.1])
def test_a_window_of_another_volume_is_never_called_drift_and_says_what_the_mix_did(factor: float) -> None:
    rng = np.random.default_rng(0)
    profile = fit_reference(pl.DataFrame({"x": rng.normal(size=5600)}), {"x": "number"}, blocks=56)
    rows = int(700 * factor)
    window = pl.DataFrame({"x": rng.normal(0.0 if factor < 1 else 1.0, 1.0, rows)})
    blocks = profile_blocks(window, profile, equal_blocks(rows, rows // 7))
    found = volume(dict.fromkeys(range(56), 100), dict.fromkeys(range(56, 63), rows // 7), 86_400)
    decision = decide(profile, blocks, alpha=0.01, volume=found)
    assert (decision.verdict, decision.p) == ("volume_changed", None)
    assert decision.p_at_volume is not None
    assert (decision.p_at_volume <= 0.01) == (factor > 1)
    assert f"{factor:g} times" in describe(decision)


def test_windows_of_six_blocks_and_more_are_permuted_in_pairs_of_neighbours() -> None:
    for taken, pairs in ((5, 0), (6, 3), (7, 3), (10, 5)):
        blocks = Blocks(np.ones(63 + taken), np.repeat([False, True], [63, taken]), np.zeros(63 + taken, dtype=int))
        choices = draw_permutations(blocks, 999, 1)[1:]
        assert set(choices.sum(axis=1).tolist()) == {float(taken)}
        neighbours = np.sum(choices[:, 1:] * choices[:, :-1], axis=1)
        assert neighbours.min() >= pairs
        assert len({tuple(c) for c in choices.tolist()}) >= 980


def test_days_that_share_a_session_across_midnight_stay_within_the_budget() -> None:
    alpha, trials, alarms = 1 / 10, 200, 0
    for seed in range(trials):
        rng = np.random.default_rng([31, seed])
        level = rng.normal(size=71)
        # What a day shares with the next makes the variance of a week 1.2 times that of seven scattered days.
        sums = np.column_stack([2.0 * level[:70] + 0.3 * level[1:] + rng.normal(size=70) for _ in range(3)])
        blocks = Blocks(np.full(70, 40.0), np.arange(70) >= 63, np.zeros(70, dtype=np.int64))
        t = studentise(sums, blocks, draw_permutations(blocks, 299, seed), np.full(3, 1e-6), np.arange(3)).largest
        alarms += p_values(t, t[:1])[0] <= alpha
    assert alarms / trials <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)


def test_for_windows_of_one_day_a_column_is_left_out_for_clear_dependence_only() -> None:
    plans = [plan_blocks(fitted(daily(40, np.zeros(40), 100 + seed)), DAY_WINDOW, 1 / 30) for seed in range(60)]
    assert sum(bool(plan.refused) for plan in plans) <= 4
    assert all(plan.problem is None for plan in plans)
    # Quarters need more: no serial dependence at a tenth, and no effect of the day.
    assert all(plan.p_dependence is not None and plan.p_dependence > 0.1 for plan in plans if plan.quarters)


@pytest.mark.parametrize("alpha", [0.5, 0.01, 1 / 43, 1 / 40, 0.0003])
@pytest.mark.parametrize("strata", [[(10, 1)], [(42, 1)], [(12, 3)], [(5, 2), (4, 1)], [(6, 0), (3, 1)]])
def test_missing_blocks_are_as_many_as_a_count_one_by_one_finds(strata: list[tuple[int, int]], alpha: float) -> None:
    phases = np.repeat(np.arange(len(strata)), [size for size, _ in strata])
    window = np.concatenate([np.arange(size) < taken for size, taken in strata])
    blocks = Blocks(np.ones(len(phases)), window, phases, within_phases=True)
    missing = 0
    while math.prod(math.comb(size + missing, taken) for size, taken in strata) * alpha < 1.0 - 1e-9:
        missing += 1
    assert missing_blocks(blocks, alpha) == missing


def test_a_rate_of_one_alarm_in_a_century_is_answered_at_once() -> None:
    blocks = Blocks(np.ones(20), np.arange(20) == 19, np.zeros(20, dtype=np.int64))
    assert missing_blocks(blocks, 1e-9) == 999_999_980
    many = Blocks(np.ones(13_000), np.arange(13_000) < 1_440, np.zeros(13_000, dtype=np.int64))
    assert missing_blocks(many, 1e-300) == 0  # more choices than a float can count

"""What runs have used of a budget, what is left and when it frees."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.spec.envelope import Envelope
from retrain.runs.budget import grant, spent
from retrain.triggers.budget import BudgetState, RunUse, states

NOW = datetime(2026, 11, 28, 15, tzinfo=UTC)


def run(
    name: str = "a", at: datetime = NOW, *, hours: float = 0.0, kwh: float = 0.0, granted: dict[str, Any] | None = None,
    trains: bool = True,
) -> RunUse:  # fmt: skip
    day = {at.date().isoformat(): {"seconds": hours * 3600, "kwh": kwh}}
    return RunUse(name, trains, at, day, granted or {})


def state(budget: Mapping[str, float], *runs: RunUse, now: datetime = NOW) -> BudgetState:
    (found,) = states("retrain.budget", budget, runs, now)
    return found


def test_runs_of_the_day_count_whatever_became_of_them() -> None:
    found = state({"runs_per_day": 2}, run("a", NOW - timedelta(hours=3)), run("b"), run("c", NOW - timedelta(days=1)))
    assert (found.used, found.left, found.frees_at) == (2, 0, datetime(2026, 11, 29, tzinfo=UTC))
    assert spent([found]) == (
        "retrain.budget.runs_per_day is 2 runs: 2 used, 0 left; it frees at 2026-11-29T00:00:00+00:00",
    )


def test_a_budget_of_nothing_never_frees() -> None:
    (words,) = spent([state({"runs_per_day": 0})])
    assert words == "retrain.budget.runs_per_day is 0 runs: 0 used, 0 left; it allows none, on any day"


def test_a_month_frees_at_its_end_and_over_the_end_of_a_year() -> None:
    found = state({"runs_per_month": 3}, run("a", NOW - timedelta(days=27)), run("b", NOW - timedelta(days=28)))
    assert (found.used, found.frees_at) == (1, datetime(2026, 12, 1, tzinfo=UTC))
    december = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert state({"kwh_per_month": 1}, now=december).frees_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_run_under_way_counts_with_what_it_may_still_use() -> None:
    found = state({"gpu_hours_per_day": 6}, run("a", hours=1), run("b", hours=0.5, granted={"hours": 4.0}))
    assert (found.used, found.reserved, found.left) == (5.0, 3.5, 1.0)
    assert "5 used, of them 3.5 by run b that has not ended, 1 left" in found.words()
    ended = state({"gpu_hours_per_day": 6}, run("a", hours=1), run("b", hours=0.5))
    assert ended.left == 4.5


def test_what_was_used_counts_on_the_day_it_was_used() -> None:
    over_midnight = RunUse(
        "a", True, NOW - timedelta(days=1),
        {"2026-11-27": {"seconds": 7200, "kwh": 2}, "2026-11-28": {"seconds": 3600, "kwh": 1}}, {},
    )  # fmt: skip
    assert state({"gpu_hours_per_day": 6}, over_midnight).used == 1.0
    assert state({"kwh_per_month": 6}, over_midnight).used == 3.0


def test_a_clock_that_was_set_back_gives_nothing_free() -> None:
    later = run("a", NOW + timedelta(days=2), hours=3)
    for budget in ({"runs_per_day": 1}, {"gpu_hours_per_day": 3}):
        found = state(budget, later)
        assert spent([found])
        assert found.frees_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_version_that_is_only_judged_again_is_no_retrain_but_uses_time() -> None:
    again = run("a", hours=1, trains=False)
    assert state({"runs_per_day": 1}, again).left == 1
    assert state({"gpu_hours_per_day": 1}, again).left == 0


@pytest.mark.parametrize(
    ("budget", "used", "envelope", "granted"),
    [
        ({"gpu_hours_per_day": 6}, 0, {}, {"hours": 4.0, "hours_by": None}),
        ({"gpu_hours_per_day": 6}, 5, {}, {"hours": 1.0, "hours_by": "retrain.budget.gpu_hours_per_day"}),
        ({"gpu_hours_per_day": 6, "gpu_hours_per_month": 5.5}, 5, {},
         {"hours": 0.5, "hours_by": "retrain.budget.gpu_hours_per_month"}),
        ({"kwh_per_day": 3}, 0, {}, {"kwh": 3.0, "kwh_by": "retrain.budget.kwh_per_day"}),
        ({"kwh_per_day": 3}, 0, {"max_kwh": 2}, {"kwh": 2.0, "kwh_by": None}),
        ({"runs_per_day": 3}, 0, {}, {}),
    ],
)  # fmt: skip
def test_a_run_is_granted_its_envelope_or_what_is_left(
    budget: dict[str, float], used: float, envelope: dict[str, Any], granted: dict[str, Any]
) -> None:
    found = tuple(states("retrain.budget", budget, [run(hours=used)], NOW))
    assert grant(found, Envelope(**envelope)) == granted


def test_a_budget_of_nothing_lets_no_run_start() -> None:
    for budget in ({"runs_per_day": 0}, {"kwh_per_month": 0.0}):
        assert spent([state(budget)])
